//! `equity`: the equity of a portfolio against that of an earlier night, less the flows between.
//!
//! The change is judged without the P&L of the nights between, which no record has yet. Hence an unchanged equity is not
//! judged either: it is wrong only beside a P&L.

use book::{Limits, Portfolio};
use chrono::NaiveDate;
use domain::night::limits::number as figure;
use domain::night::{Control, ControlResult, Level, Member};

use super::{Planned, about_run, number, percent};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    planned
        .members_of_run()
        .filter_map(|(portfolio, member)| judge(portfolio, member, planned.as_of(), limits))
        .collect()
}

/// The result for one portfolio; `None` if it passes or there is nothing to compare.
pub(super) fn judge(
    portfolio: &Portfolio,
    member: &Member,
    as_of: NaiveDate,
    limits: &Limits,
) -> Option<ControlResult> {
    let (now, before) = (member.equity?, member.equity_before?);
    let on = member.equity_on.unwrap_or(as_of);
    let flows = portfolio.flows(before.as_of, on);
    let change = (now - before.value - flows).abs() / before.value;
    let (level, limit) = limits.level(change);
    if level == Level::Ok {
        return None;
    }
    let explained = match flows {
        0.0 => String::new(),
        flows => format!(", with flows of {} since then", figure(flows)),
    };
    let message = format!(
        "The equity of portfolio {} is {} on {on} and was {} on {}{explained}: a change of {}; the limit is {}. Correct \
         the equity or add the flow in equity.csv, then run the date again, or accept the change.",
        portfolio.id,
        figure(now),
        figure(before.value),
        before.as_of,
        percent(change),
        percent(limit.unwrap_or_default()),
    );
    let (observed, limit) = (number(change), limit.and_then(number));
    let about = about_run(Control::Equity, level, message);
    Some(ControlResult { portfolio_id: Some(portfolio.id.clone()), observed, limit, ..about })
}
