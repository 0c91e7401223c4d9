//! `portfolios`: the portfolios that the night expects against those that the book has.
//!
//! Planning records one result for each absent portfolio, so that the run says it and ends with exit code 1. The fold of
//! the night drops the result once a later run holds the portfolio.

use book::Limits;
use domain::night::expected::not_in_book;
use domain::night::{Control, ControlResult};

use super::{Planned, about_run, number};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let absent = not_in_book(planned.members, planned.snapshot.as_of);
    let (level, limit) = limits.level(absent.len() as f64);
    let result = |id: domain::ids::PortfolioId| {
        let since = planned.before.as_of.map_or_else(String::new, |as_of| format!(" since the night of {as_of}"));
        let message = format!(
            "Portfolio {id} is expected{since} and is not in portfolios.csv. Add its row again, or declare it closed \
             with closed_on, then run the date again."
        );
        let (observed, limit) = (number(absent.len() as f64), limit.and_then(number));
        let about = about_run(Control::Portfolios, level, message);
        ControlResult { portfolio_id: Some(id), observed, limit, ..about }
    };
    absent.iter().cloned().map(result).collect()
}
