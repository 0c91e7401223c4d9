//! The cells of a night: for each expected portfolio the records of the run that decides it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ids::{JobName, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::night::{JobOutcome, Night, PortfolioOutcome};
use domain::record::JobRecord;
use domain::words::JobStatus;
use domain::work_item::{Place, WorkItem};

use super::changes::usual_longest;
use super::grid::{CellView, Column, Grid, GridRow, card_words};
use super::index::IndexInput;
use super::{PAGE_ROWS, cell_link};
use crate::gather::RunData;
use domain::baseline::Band;

/// A portfolio's name, and for each job its record and whether the page of the record's run is there.
pub(crate) type Resolved = (String, BTreeMap<JobName, (JobRecord, bool)>);

/// The items of the runs of a night by run and portfolio.
type Items<'a> = BTreeMap<RunId, (&'a RunData, BTreeMap<&'a PortfolioId, &'a WorkItem>)>;

/// The records of each expected portfolio of a night. `runs` are the runs of its date.
///
/// A job has the record that the night counts. A portfolio that no ended run decides has the records of an open one, so
/// that a reader sees how far it is.
pub(crate) fn resolve(night: &Night, runs: &[RunData]) -> BTreeMap<PortfolioId, Resolved> {
    let items: Items<'_> = runs
        .iter()
        .map(|data| {
            let by_id = data.items.iter().map(|item| (&item.key.portfolio, item)).collect();
            (data.head.run.batch_run_id, (data, by_id))
        })
        .collect();
    let specs: BTreeMap<&JobName, &JobSpec> =
        runs.iter().flat_map(RunData::jobs).map(|spec| (&spec.name, spec)).collect();
    let one =
        |(id, outcome): (&PortfolioId, &PortfolioOutcome)| (id.clone(), portfolio(night, &items, &specs, id, outcome));
    night.outcomes.iter().map(one).collect()
}

fn portfolio(
    night: &Night,
    items: &Items<'_>,
    specs: &BTreeMap<&JobName, &JobSpec>,
    id: &PortfolioId,
    outcome: &PortfolioOutcome,
) -> Resolved {
    let find = |run: RunId| items.get(&run).and_then(|(data, by_id)| Some((*data, *by_id.get(id)?)));
    let open = night.in_progress.iter().rev().find_map(|run| find(*run)).filter(|_| outcome.run().is_none());
    let known = outcome.run().and_then(find).or(open);
    let name = known.map_or_else(|| id.to_string(), |(_, item)| item.portfolio_name.clone());
    let mut records = BTreeMap::new();
    if let Some((data, item)) = open {
        let linkable = data.head.linkable;
        records.extend(data.records(item).into_iter().map(|record| (record.job_name.clone(), (record, linkable))));
        return (name, records);
    }
    let recorded: Vec<(RunId, Vec<JobRecord>, bool)> = known
        .into_iter()
        .chain(outcome.jobs.iter().filter_map(|job| job.run).filter(|run| Some(*run) != outcome.run()).filter_map(find))
        .map(|(data, item)| (data.head.run.batch_run_id, data.records(item), data.head.linkable))
        .collect();
    for (job, outcome) in night.jobs.iter().zip(&outcome.jobs) {
        let of_run = recorded.iter().find(|(run, ..)| outcome.run.is_none_or(|of| of == *run));
        let record = of_run.and_then(|(_, all, linkable)| {
            let record = all.iter().find(|record| record.job_name == job.name)?;
            (record.status == outcome.status).then(|| (record.clone(), *linkable))
        });
        let blank = || Some((blank(night, id, &name, specs.get(&job.name)?, outcome)?, false));
        if let Some(record) = record.or_else(blank) {
            records.insert(job.name.clone(), record);
        }
    }
    (name, records)
}

/// The record of a job of which only the state is known.
fn blank(night: &Night, id: &PortfolioId, name: &str, spec: &JobSpec, outcome: &JobOutcome) -> Option<JobRecord> {
    let run = outcome.run.or(night.runs.last().copied())?;
    Some(JobRecord::blank(run, id, name, spec, outcome.status))
}

/// The jobs of a night in their order. The page of a job is there once a run with it has one.
pub(crate) fn job_columns(night: Option<&Night>, runs: &[RunData]) -> Vec<Column> {
    let names = night.into_iter().flat_map(|night| &night.jobs).map(|job| &job.name);
    let linked =
        |name: &JobName| runs.iter().any(|data| data.head.linkable && data.jobs().iter().any(|job| job.name == *name));
    names.map(|name| Column { name: Arc::from(name.as_str()), link: linked(name) }).collect()
}

/// The grid of the newest night that has portfolios.
pub(crate) fn grid(input: &IndexInput<'_>, resolved: BTreeMap<PortfolioId, Resolved>) -> Grid {
    let night = input.planned.map(|data| &*data.night);
    let columns = job_columns(night, input.latest);
    let bands: Vec<Option<Band>> =
        columns.iter().map(|column| usual_longest(input.past, &JobName::new(&*column.name).ok()?)).collect();
    // Where a cell stands on the page of its run.
    let sizes: BTreeMap<RunId, u32> = input
        .latest
        .iter()
        .map(|data| (data.head.run.batch_run_id, data.head.run.plan.as_ref().map_or(0, |plan| plan.portfolios)))
        .collect();
    let mut places = BTreeMap::new();
    for data in input.latest.iter().filter(|data| data.items.len() > PAGE_ROWS as usize) {
        places.extend(data.items.iter().map(|item| ((item.key.run, item.key.portfolio.clone()), item.place)));
    }
    let rows = resolved
        .into_iter()
        .map(|(id, (name, mut records))| {
            let mut cells = Vec::with_capacity(columns.len());
            for (column, band) in columns.iter().zip(&bands) {
                let Some((record, linkable)) = JobName::new(&*column.name).ok().and_then(|name| records.remove(&name))
                else {
                    continue;
                };
                let mut cell = CellView::of(&record, &column.name).against(band.as_ref(), record.duration_seconds);
                if linkable && cell.is_problem() {
                    let run = record.batch_run_id;
                    let place = places.get(&(run, id.clone())).copied().unwrap_or(Place { bucket: 0, index: 0 });
                    let size = sizes.get(&run).copied().unwrap_or(0);
                    cell.link = Some(cell_link(run, size, place, id.as_str(), &column.name));
                }
                cells.push(cell);
            }
            let problem = cells.iter().any(CellView::is_problem);
            let words = card_words(input.cards.get(&id));
            let absent = night.is_some_and(|night| night.absent.contains(&id));
            GridRow { link: input.with_page.contains(&id), id: id.to_string(), name, absent, problem, words, cells }
        })
        .collect();
    Grid::new(columns, rows, PAGE_ROWS as usize)
}

/// How many jobs succeeded only after a retry.
pub(crate) fn retried(resolved: &BTreeMap<PortfolioId, Resolved>) -> u64 {
    let records = resolved.values().flat_map(|(_, records)| records.values());
    records.filter(|(record, _)| record.status == JobStatus::Success && record.attempt > 1).count() as u64
}
