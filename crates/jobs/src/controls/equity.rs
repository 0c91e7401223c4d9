//! `equity`: the equity of a portfolio against that of an earlier night.
//!
//! The change is judged without the P&L of the nights between, which no record has yet. Hence an unchanged equity is not
//! judged either: it is wrong only beside a P&L.

use book::Limits;
use domain::night::{Control, ControlResult, Level};

use super::{Planned, about_run, number, percent};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let judged = planned.portfolios().filter_map(|portfolio| {
        let member = planned.members.open.get(&portfolio.id)?;
        let (now, before) = (member.equity?, member.equity_before?);
        let change = (now - before.value).abs() / before.value;
        let (level, limit) = limits.level(change);
        let message = format!(
            "The equity of portfolio {} is {now} and was {} on {}, a change of {}; the limit is {}. Correct the equity \
             in the book and run the date again, or accept the change.",
            portfolio.id,
            before.value,
            before.as_of,
            percent(change),
            percent(limit.unwrap_or_default()),
        );
        let (observed, limit) = (number(change), limit.and_then(number));
        let about = about_run(Control::Equity, level, message);
        Some(ControlResult { portfolio_id: Some(portfolio.id.clone()), observed, limit, ..about })
    });
    judged.filter(|result| result.level > Level::Ok).collect()
}
