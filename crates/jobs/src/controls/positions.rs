//! `positions`: the rows of a portfolio against an earlier night, where exits do not explain the difference.

use book::{Limits, Lot};
use chrono::NaiveDate;
use domain::night::{Control, ControlResult, Earlier, Level};

use super::{Planned, about_run, count, number, percent};

/// Fewer rows than this are judged only where none is left.
const FEWEST: u64 = 5;

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let as_of = planned.snapshot.as_of;
    let judged = planned.portfolios().filter_map(|portfolio| {
        let member = planned.members.open.get(&portfolio.id)?;
        let lots = &planned.book.portfolio(&portfolio.id)?.positions;
        let before = member.rows_before?;
        let exited = lots.iter().filter(|lot| has_exited(lot, before.as_of, as_of)).count() as u64;
        let (level, limit) = judge(member.rows, exited, before, limits);
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
            percent(share(member.rows, exited, before.value)),
            percent(limit.unwrap_or_default()),
        );
        let (observed, limit) = (number(share(member.rows, exited, before.value)), limit.and_then(number));
        let about = about_run(Control::Positions, level, message);
        Some(ControlResult { portfolio_id: Some(portfolio.id.clone()), observed, limit, ..about })
    });
    judged.filter(|result| result.level > Level::Ok).collect()
}

/// Whether a lot that was held on the earlier date has been exited since.
fn has_exited(lot: &Lot, before: NaiveDate, as_of: NaiveDate) -> bool {
    lot.is_active(before) && lot.exit_date.is_some_and(|exit| exit <= as_of)
}

/// The share of the earlier rows that is still held or has exited.
fn share(rows: u64, exited: u64, before: u64) -> f64 {
    if before == 0 { 1.0 } else { rows.saturating_add(exited) as f64 / before as f64 }
}

fn judge(rows: u64, exited: u64, before: Earlier<u64>, limits: &Limits) -> (Level, Option<f64>) {
    if rows == 0 && exited < before.value && limits.fail.is_some() {
        return (Level::Failure, limits.fail);
    }
    if before.value < FEWEST {
        return (Level::Ok, None);
    }
    limits.level(share(rows, exited, before.value))
}
