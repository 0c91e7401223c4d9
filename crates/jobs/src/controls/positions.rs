//! `positions`: the rows of a portfolio against an earlier night, where exits do not explain the difference.

use book::{Limits, Lot, Portfolio};
use chrono::NaiveDate;
use domain::night::{Control, ControlResult, Earlier, Level, Member};

use super::{Planned, about_run, count, number, percent};

/// Fewer rows than this are judged only where none is left.
const FEWEST: u64 = 5;

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
    let before = member.rows_before?;
    let exited = portfolio.positions.iter().filter(|lot| has_exited(lot, before.as_of, as_of)).count() as u64;
    let (level, limit) = level(member.rows, exited, before, limits);
    if level == Level::Ok {
        return None;
    }
    let share = share(member.rows, exited, before.value);
    let message = format!(
        "Portfolio {} has {} and had {} on {}; {} since then. {} are accounted for; the limit is {}. Compare \
         positions.csv with its source, give positions that were sold an exit_date, then run the date again.",
        portfolio.id,
        count(member.rows, "row"),
        before.value,
        before.as_of,
        match exited {
            1 => "1 has exited".to_owned(),
            n => format!("{n} have exited"),
        },
        percent(share),
        percent(limit.unwrap_or_default()),
    );
    let (observed, limit) = (number(share), limit.and_then(number));
    let about = about_run(Control::Positions, level, message);
    Some(ControlResult { portfolio_id: Some(portfolio.id.clone()), observed, limit, ..about })
}

/// Whether a lot that was held on the earlier date has been exited since.
fn has_exited(lot: &Lot, before: NaiveDate, as_of: NaiveDate) -> bool {
    lot.is_active(before) && lot.exit_date.is_some_and(|exit| exit <= as_of)
}

/// The share of the earlier rows that is still held or has exited.
fn share(rows: u64, exited: u64, before: u64) -> f64 {
    if before == 0 { 1.0 } else { rows.saturating_add(exited) as f64 / before as f64 }
}

fn level(rows: u64, exited: u64, before: Earlier<u64>, limits: &Limits) -> (Level, Option<f64>) {
    if rows == 0 && exited < before.value && limits.fail.is_some() {
        return (Level::Failure, limits.fail);
    }
    if before.value < FEWEST {
        return (Level::Ok, None);
    }
    limits.level(share(rows, exited, before.value))
}
