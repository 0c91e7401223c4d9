//! Geometry of the drawings: values to coordinates, in plain numbers, so that a drawing is a function of its data.

use serde::Serialize;

/// A box that values are drawn into, with the range of values that it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    width: f64,
    height: f64,
    low: f64,
    high: f64,
    points: usize,
}

impl Frame {
    /// A frame of this size for so many values on its width, from `low` to `high`.
    pub(crate) fn new(width: f64, height: f64, points: usize, low: f64, high: f64) -> Self {
        // A flat line runs through the middle.
        let (low, high) =
            if high - low > f64::EPSILON * high.abs().max(1.0) { (low, high) } else { (low - 1.0, high + 1.0) };
        Self { width, height, low, high, points }
    }

    /// Where the value at this place stands, from the left.
    pub(crate) fn x(&self, at: usize) -> f64 {
        match self.points {
            0 | 1 => self.width / 2.0,
            n => at as f64 * self.width / (n - 1) as f64,
        }
    }

    /// How far down a value stands.
    pub(crate) fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    /// A value as a point of a line.
    pub(crate) fn point(&self, at: usize, value: f64) -> String {
        format!("{:.1},{:.1}", self.x(at), self.y(value))
    }

    /// These values as lines: a gap in the values is a gap in the drawing.
    pub(crate) fn lines(&self, values: &[Option<f64>]) -> Vec<String> {
        let mut lines: Vec<Vec<String>> = vec![Vec::new()];
        for (at, value) in values.iter().enumerate() {
            match (value, lines.last_mut()) {
                (Some(value), Some(line)) => line.push(self.point(at, *value)),
                (None, Some(line)) if !line.is_empty() => lines.push(Vec::new()),
                _ => {}
            }
        }
        lines.retain(|line| !line.is_empty());
        lines.into_iter().map(|line| line.join(" ")).collect()
    }
}

/// A small line without axes, and what it says at its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Spark {
    pub(crate) lines: Vec<String>,
    /// The newest value, as a point.
    pub(crate) end: Option<(String, String)>,
    /// How far down zero stands, where it is in range and not the edge.
    pub(crate) zero: Option<String>,
}

/// Width and height of a small line.
pub(crate) const SPARK: (f64, f64) = (200.0, 36.0);

/// A small line of these values, oldest first; none where there are fewer than two.
pub(crate) fn spark(values: &[Option<f64>]) -> Option<Spark> {
    let known = || values.iter().flatten().copied();
    if known().count() < 2 {
        return None;
    }
    let (low, high) = known().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let frame = Frame::new(SPARK.0, SPARK.1, values.len(), low, high);
    let end = values.iter().rposition(Option::is_some).and_then(|at| Some((at, values.get(at).copied().flatten()?)));
    Some(Spark {
        lines: frame.lines(values),
        end: end.map(|(at, value)| (format!("{:.1}", frame.x(at)), format!("{:.1}", frame.y(value)))),
        zero: (low < 0.0 && high > 0.0).then(|| format!("{:.1}", frame.y(0.0))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_line() {
        let spark = spark(&[Some(1.0), Some(2.0), None, Some(3.0)]).unwrap();
        assert_eq!(spark.lines, ["0.0,36.0 66.7,18.0", "200.0,0.0"]);
        assert_eq!(spark.end, Some(("200.0".into(), "0.0".into())));
        assert!(super::spark(&[Some(1.0), None]).is_none());
    }

    #[test]
    fn what_does_not_change_runs_through_the_middle() {
        assert_eq!(spark(&[Some(5.0), Some(5.0)]).unwrap().lines, ["0.0,18.0 200.0,18.0"]);
    }
}
