//! `orphans`: rows of `positions.csv` without a portfolio.

use book::Limits;
use domain::night::{Control, ControlResult};

use super::{Planned, about_run, count, listed, number};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let files = &planned.book.files;
    let (level, limit) = limits.level(files.orphan_rows as f64);
    let Some(first) = files.orphans.first() else { return Vec::new() };
    let named: Vec<&str> = files.orphans.iter().map(|orphan| orphan.portfolio.as_str()).collect();
    let message = format!(
        "{} of {} name portfolios that portfolios.csv does not have ({}; the first is {}:{}); the limit is {}. Add the \
         portfolios to portfolios.csv, or remove the rows, then run the date again.",
        count(files.orphan_rows, "row"),
        first.file,
        listed(&named),
        first.file,
        first.line,
        limit.unwrap_or_default(),
    );
    let (observed, limit) = (number(files.orphan_rows as f64), limit.and_then(number));
    vec![ControlResult { observed, limit, ..about_run(Control::Orphans, level, message) }]
}
