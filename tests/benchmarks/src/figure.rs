//! A figure: what was measured, what it may be, and what the named peer takes for the same.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One line of the list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The value may be at most this.
    pub(crate) budget: Option<f64>,
    /// Whether it is, and the peer takes so many times as long as was promised; none without a budget.
    pub(crate) within_budget: Option<bool>,
    pub(crate) peer: Option<&'static str>,
    /// In the same unit, measured in the same call.
    pub(crate) peer_value: Option<f64>,
    /// Peer by value: how many times as long the peer takes.
    pub(crate) ratio: Option<f64>,
}

impl Figure {
    /// A figure that may be at most `budget`.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str, budget: f64) -> Self {
        let within_budget = Some(value <= budget);
        let (peer, peer_value, ratio) = (None, None, None);
        Self { name: name.into(), value, unit, budget: Some(budget), within_budget, peer, peer_value, ratio }
    }

    /// A figure that is only told.
    pub(crate) fn told(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { budget: None, within_budget: None, ..Self::new(name, value, unit, f64::INFINITY) }
    }

    /// What the peer takes for the same; it has to take at least `least` times as long.
    pub(crate) fn against(mut self, peer: &'static str, peer_value: f64, least: f64) -> Self {
        let ratio = peer_value / self.value;
        self.within_budget = Some(self.within_budget.unwrap_or(true) && ratio >= least);
        self.peer = Some(peer);
        self.peer_value = Some(peer_value);
        self.ratio = Some(ratio);
        self
    }

    /// The figure as a line of the table.
    pub(crate) fn line(&self) -> String {
        let word = match self.within_budget {
            Some(true) => "ok",
            Some(false) => "OVER",
            None => "",
        };
        let budget = self.budget.map(|budget| format!("{budget} {}", self.unit)).unwrap_or_default();
        let peer = match (self.peer, self.peer_value, self.ratio) {
            (Some(peer), Some(value), Some(ratio)) => format!("{peer}: {value:.3} {}, {ratio:.1} times", self.unit),
            _ => String::new(),
        };
        format!("{:44} {:>12.3} {:9} {:>14}  {:5} {peer}", self.name, self.value, self.unit, budget, word)
    }
}

/// The median of some values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The median time of a call, in seconds: at least `times` calls, after one that does not count.
pub(crate) fn seconds_of<T>(times: usize, mut call: impl FnMut() -> T) -> f64 {
    std::hint::black_box(call());
    let times = (0..times).map(|_| {
        let began = Instant::now();
        std::hint::black_box(call());
        began.elapsed()
    });
    median(times.map(|time: Duration| time.as_secs_f64()).collect())
}
