//! `input_end`: a file whose last line has no line end, as one that was cut has.

use book::Limits;
use domain::night::{Control, ControlResult};

use super::{Planned, about_run, listed, number};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let files = &planned.book.files.without_line_end;
    let (level, limit) = limits.level(files.len() as f64);
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (ends, it) = match names.len() {
        1 => ("ends", "it"),
        _ => ("end", "each of them"),
    };
    let message = format!(
        "{} {ends} without a line break, so {it} may be cut in the last line. Compare {it} with its source, write it \
         again with a line break at the end, then run the date again.",
        listed(&names),
    );
    let (observed, limit) = (number(files.len() as f64), limit.and_then(number));
    vec![ControlResult { observed, limit, ..about_run(Control::InputEnd, level, message) }]
}
