//! What a source answers: a table or JSON, to rows. A row that cannot be used is left out and counted, never guessed at.

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

/// One close as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The symbol, where the answer says which.
    pub symbol: Option<String>,
    /// The day.
    pub date: NaiveDate,
    /// The close, finite and above 0.
    pub close: f64,
}

/// Rows, and what is wrong with those that were left out.
pub type Rows = (Vec<Row>, Vec<String>);

/// The smallest close that is taken: a return from it stays finite.
const LEAST: f64 = 1e-9;
/// The largest, as in a book.
const MOST: f64 = 1e15;

fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{short:?}")
}

fn date(text: &str) -> Result<NaiveDate, String> {
    let text = text.trim();
    let day = text.get(..10).filter(|_| matches!(text.as_bytes().get(10), None | Some(b'T' | b' ')));
    day.and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())
        .ok_or_else(|| format!("{} is no date", shown(text)))
}

fn close(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("{} is no close", shown(text)))
}

/// Reads a CSV table with a header line.
///
/// # Errors
/// It has no such columns: it is no answer at all.
pub fn read_csv(body: &[u8], date_name: &str, close_name: &str, symbol_name: Option<&str>) -> Result<Rows, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let header = reader.headers().map_err(|error| format!("the answer is no table: {error}"))?.clone();
    let column = |name: &str| {
        header.iter().position(|column| column.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let begin: String = header.iter().collect::<Vec<_>>().join(",");
            format!("the answer has no column {name:?}; it begins with {}", shown(&begin))
        })
    };
    let (date_at, close_at) = (column(date_name)?, column(close_name)?);
    let symbol_at = symbol_name.map(column).transpose()?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let read = || {
            let record = record.map_err(|error| error.to_string())?;
            let field = |at: usize| record.get(at).ok_or_else(|| "a row is too short".to_owned());
            let symbol = symbol_at.map(field).transpose()?.map(str::to_owned);
            Ok::<_, String>(Row { symbol, date: date(field(date_at)?)?, close: close(field(close_at)?)? })
        };
        match read() {
            Ok(row) => rows.push(row),
            Err(why) => left_out.push(why),
        }
    }
    Ok((rows, left_out))
}

/// Reads JSON: the array at `path` (names with dots between; empty: the whole answer), or an object there whose keys
/// are the dates, for which `date_name` is `@key`.
///
/// # Errors
/// It is no JSON, or there is nothing at the path: it is no answer at all.
pub fn read_json(
    body: &[u8],
    path: &str,
    date_name: &str,
    close_name: &str,
    symbol_name: Option<&str>,
) -> Result<Rows, String> {
    let begin = || shown(&String::from_utf8_lossy(&body[..body.len().min(40)]));
    let root: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is no JSON ({error}); it begins with {}", begin()))?;
    let mut place = &root;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        place =
            place.get(name).ok_or_else(|| format!("the answer has nothing at {path:?}; it begins with {}", begin()))?;
    }
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    let mut take = |key: Option<&str>, value: &Value| {
        let read = || {
            let day = match key {
                Some(key) if date_name == "@key" => date(key)?,
                _ => day_of(value.get(date_name))?,
            };
            let number = match value.get(close_name) {
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::String(text)) => text.clone(),
                _ => return Err(format!("a row has no {close_name:?}")),
            };
            let symbol = symbol_name.map(|name| {
                value
                    .get(name)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                    .ok_or_else(|| format!("a row has no {name:?}"))
            });
            Ok(Row { symbol: symbol.transpose()?, date: day, close: close(&number)? })
        };
        match read() {
            Ok(row) => rows.push(row),
            Err(why) => left_out.push(why),
        }
    };
    match place {
        Value::Array(items) => items.iter().for_each(|value| take(None, value)),
        Value::Object(entries) if date_name == "@key" => entries.iter().for_each(|(key, value)| take(Some(key), value)),
        // What some sources write instead of an empty list.
        Value::Null => {}
        _ => return Err(format!("the answer has no list at {path:?}; it begins with {}", begin())),
    }
    Ok((rows, left_out))
}

/// A date as text, or as seconds or milliseconds since 1970.
fn day_of(value: Option<&Value>) -> Result<NaiveDate, String> {
    match value {
        Some(Value::String(text)) => date(text),
        Some(Value::Number(number)) => {
            let stamp = number.as_i64().and_then(|number| {
                if number.abs() > 100_000_000_000 {
                    DateTime::from_timestamp_millis(number)
                } else {
                    DateTime::from_timestamp(number, 0)
                }
            });
            stamp.map(|stamp| stamp.date_naive()).ok_or_else(|| format!("{number} is no date"))
        }
        _ => Err("a row has no date".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(n: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 6, n).unwrap()
    }

    #[test]
    fn tables_are_read_and_wrong_rows_left_out() {
        let body = b"Date,Open,Close\n2026-06-01,1,10.5\n2026-06-02,1,NaN\n2026-06-03,1,-4\n2026-06-04,1,0\nyesterday,1,2\n2026-06-05\n2026-06-08,1,inf\n";
        let (rows, left_out) = read_csv(body, "date", "close", None).unwrap();
        assert_eq!(rows, [Row { symbol: None, date: day(1), close: 10.5 }]);
        assert_eq!(left_out.len(), 6, "{left_out:?}");
        let error = read_csv(b"<!DOCTYPE html><html>", "date", "close", None).unwrap_err();
        assert!(error.contains("no column \"date\"") && error.contains("DOCTYPE"), "{error}");
    }

    #[test]
    fn json_is_read_in_its_usual_forms() {
        let (rows, left_out) = read_json(
            br#"[{"date": "2026-06-01T00:00:00.000Z", "adjClose": 10.5}, {"date": "2026-06-02", "adjClose": null}]"#,
            "",
            "date",
            "adjClose",
            None,
        )
        .unwrap();
        assert_eq!((rows.len(), rows[0].date, left_out.len()), (1, day(1), 1));
        let (rows, _) =
            read_json(br#"{"results": [{"t": 1780286400000, "c": 1.5, "T": "A"}]}"#, "results", "t", "c", Some("T"))
                .unwrap();
        assert_eq!(rows, [Row { symbol: Some("A".into()), date: day(1), close: 1.5 }]);
        let (rows, _) =
            read_json(br#"{"days": {"2026-06-01": {"4. close": "7.25"}}}"#, "days", "@key", "4. close", None).unwrap();
        assert_eq!(rows, [Row { symbol: None, date: day(1), close: 7.25 }]);
        assert_eq!(read_json(br#"{"results": null}"#, "results", "t", "c", None).unwrap().0, []);
        for (body, said) in [
            ("<html>", "no JSON"),
            ("{}", "nothing at"),
            (r#"{"results": 7}"#, "no list"),
            (r#"{"results": {"a": 1}}"#, "no list"),
        ] {
            let error = read_json(body.as_bytes(), "results", "t", "c", None).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        /// Whatever comes, nothing panics and no close is unusable.
        #[test]
        fn any_bytes_are_read(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for rows in [read_csv(&body, "d", "c", None), read_json(&body, "", "d", "c", None)].into_iter().flatten() {
                prop_assert!(rows.0.iter().all(|row| row.close.is_finite() && row.close > 0.0));
            }
        }
    }
}
