//! The leases of a process that has ended: voided when the next one takes the lock of the folder.

use chrono::{DateTime, Utc};
use domain::alert::{AlertEvent, AlertState};
use domain::ids::{PortfolioId, RunId};
use domain::run::RunEvent;
use domain::work_item::{ItemEvent, ItemKey, Place};
use rusqlite::{Connection, params};

use super::rows::parsed;
use super::runs::{ENDED, apply_alert_in, apply_run_in, load_alert};
use super::work_items::apply_item_in;
use super::writer::OpError;

/// Voids the leases of the process that held the folder before.
pub(crate) fn void_leases_in(connection: &Connection, now: DateTime<Utc>) -> Result<(), OpError> {
    let open: Vec<String> = connection
        .prepare(&format!("SELECT batch_run_id FROM runs WHERE phase NOT IN {ENDED}"))?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in open {
        let run: RunId = parsed(&id, || format!("the id of run {id}"))?;
        apply_run_in(connection, run, &RunEvent::VoidLease { now })?;
        if let AlertState::Sending { owner, .. } = load_alert(connection, run)? {
            apply_alert_in(connection, run, &AlertEvent::GiveBack { owner })?;
        }
        let portfolios: Vec<String> = connection
            .prepare("SELECT portfolio_id FROM work_items WHERE batch_run_id = ?1 AND state = 'working'")?
            .query_map(params![id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for portfolio in portfolios {
            let portfolio: PortfolioId = parsed(&portfolio, || format!("a work item of run {id}"))?;
            let key = ItemKey { run, portfolio };
            // The item is there, so neither name nor place is used.
            apply_item_in(connection, &key, "", Place { bucket: 0, index: 0 }, &ItemEvent::VoidLease)?;
        }
    }
    Ok(())
}
