//! The decision on the acceptance of a control result.

use std::collections::BTreeSet;

use domain::ids::{PortfolioId, RunId};
use domain::names::near;
use domain::night::head::has_room_for;
use domain::night::keeping::accept_control;
use domain::night::{Acceptance, Control, Night, NightControl, NightHead, NightView};
use domain::note::AUTHOR_CHARS;

use super::RunControl;
use crate::error::{ControlError, Refusal};
use crate::night_reader::NightReader;
use crate::requests::AcceptRequest;
use crate::texts::{lines, one_line, refused};

/// Acceptances that a night may have: its head holds them, and is small.
const MOST_ACCEPTANCES: usize = 40;

/// The longest note of an acceptance, in characters.
const ACCEPT_CHARS: usize = 200;

/// A night after an acceptance.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedNight {
    /// The night, folded again.
    pub view: NightView,
    /// The run whose pages show it: the newest one of the night. `None` where only a missed slot is recorded.
    pub run: Option<RunId>,
}

impl RunControl {
    /// Records that somebody accepts results of a control, folds the night again, and has its pages written again. Where
    /// all of these results are accepted already, nothing changes.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is recorded.
    pub async fn accept(&self, request: &AcceptRequest, nights: &NightReader) -> Result<AcceptedNight, ControlError> {
        let author = one_line("author", &request.author, AUTHOR_CHARS)?;
        let note = lines("note", &request.note, ACCEPT_CHARS)?;
        if note.is_empty() {
            return Err(refused("note", format!("write why, in 1 to {ACCEPT_CHARS} characters")).into());
        }
        let control: Control = request.control.parse().map_err(|error| refused("control", format!("{error}")))?;
        let (as_of, now) = (request.as_of, self.clock.now());
        nights.require_date(as_of, now)?;
        let view = nights.of_date(self.store.as_ref(), as_of, request.series.as_ref(), now).await?;
        let view = view.ok_or(Refusal::NoNight { as_of })?;
        if let Some(portfolio) = &request.portfolio {
            require_portfolio(&view.night, portfolio)?;
        }
        let portfolio = request.portfolio.as_ref();
        let named = |found: &&NightControl| {
            found.result.control == control && portfolio.is_none_or(|id| found.result.portfolio_id.as_ref() == Some(id))
        };
        let results: Vec<&NightControl> = view.night.controls.iter().filter(named).collect();
        if results.is_empty() {
            return Err(nothing_to_accept(&view.night, control, portfolio).into());
        }
        if results.iter().all(|result| view.night.in_progress.contains(&result.batch_run_id)) {
            return Err(refused("date", format!("the run of {as_of} has not ended; accept its results then")).into());
        }
        let view = if results.iter().all(|result| result.accepted.is_some()) {
            view
        } else {
            let acceptance = Acceptance { control, portfolio: request.portfolio.clone(), author, note, at: now };
            require_room(&view.head, &acceptance)?;
            tracing::info!(
                as_of = %as_of, control = %control, author = acceptance.author, event = "control.accepted",
                "results of a control were accepted"
            );
            let store = self.store.as_ref();
            let accepted = accept_control(store, self.clock.as_ref(), &view.head.key(), acceptance).await?;
            accepted.ok_or(Refusal::NoNight { as_of })?
        };
        let run = view.head.full_run.or_else(|| view.night.runs.last().copied());
        if let Some(run) = run {
            self.publish_again(run).await;
        }
        self.worker.refresh_index().await;
        Ok(AcceptedNight { view, run })
    }
}

/// Refuses an acceptance for which the head of the night has no room.
fn require_room(head: &NightHead, acceptance: &Acceptance) -> Result<(), Refusal> {
    let most = head.acceptances.len().min(MOST_ACCEPTANCES);
    let with_this: Vec<Acceptance> = head.acceptances.iter().chain([acceptance]).cloned().collect();
    if most < MOST_ACCEPTANCES && has_room_for(&with_this) {
        return Ok(());
    }
    Err(Refusal::TooManyAcceptances { as_of: head.as_of, most })
}

/// Refuses a portfolio that the night does not know, with similar ones that it does.
fn require_portfolio(night: &Night, portfolio: &PortfolioId) -> Result<(), Refusal> {
    let of_controls = night.controls.iter().filter_map(|control| control.result.portfolio_id.as_ref());
    let known: BTreeSet<&PortfolioId> = night.outcomes.keys().chain(of_controls).collect();
    if known.contains(portfolio) {
        return Ok(());
    }
    let near = near(portfolio.as_str(), known.into_iter().map(PortfolioId::as_str));
    let suggestion = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
    Err(refused("portfolio", format!("the night of {} has no portfolio {portfolio}{suggestion}", night.as_of)))
}

fn nothing_to_accept(night: &Night, control: Control, portfolio: Option<&PortfolioId>) -> Refusal {
    let name = |control: Control, portfolio: Option<&PortfolioId>| match portfolio {
        Some(id) => format!("{control} for {id}"),
        None => control.to_string(),
    };
    let there: BTreeSet<String> =
        night.controls.iter().map(|found| name(found.result.control, found.result.portfolio_id.as_ref())).collect();
    let there = if there.is_empty() {
        "every control passed".to_owned()
    } else {
        let listed: Vec<String> = there.iter().take(10).cloned().collect();
        let more = there.len() - listed.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("its results are {}{more}", listed.join(", "))
    };
    Refusal::NothingToAccept { as_of: night.as_of, what: name(control, portfolio), there }
}
