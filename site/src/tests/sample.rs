//! Runs as the tests of the pages make them.

use super::fake::*;
use super::*;

/// How a portfolio fares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Good,
    Retried,
    Limited,
    /// `factor_analysis` fails.
    Fails,
    /// Lost after three jobs.
    Lost,
    /// In hand, third job.
    Working,
    Untouched,
}

pub(crate) fn id_of(at: usize) -> PortfolioId {
    PortfolioId::new(format!("fund-{at:03}")).unwrap()
}

pub(crate) fn run_id(n: u128) -> RunId {
    RunId(Uuid::from_u128(0x7d0a_1c2e_5b3f_5a6d_9c1b_0000_0000_0000 + n))
}

/// A run of `day` whose portfolios fare so. Closed unless somebody is at work.
pub(crate) fn entry(n: u128, day: u32, fates: &[Fate]) -> Entry {
    let started = slot(day) + TimeDelta::seconds(2);
    let open = fates.contains(&Fate::Working);
    let plan = SealedPlan {
        night: None,
        epoch: 1,
        portfolios: fates.len() as u32,
        jobs: jobs(),
        retry: RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: started,
            completed_at: started + TimeDelta::seconds(1),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: started + TimeDelta::seconds(1),
        deadline: started + TimeDelta::hours(2),
    };
    let start = domain::start_run::StartRun {
        id: run_id(n),
        night_series: ScheduleName::new("nightly").unwrap(),
        schedule: ScheduleName::new("nightly").unwrap(),
        trigger: "schedule".into(),
        as_of: date(day),
        scheduled_for: slot(day),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    let mut run = Run {
        close_epoch: 1,
        plan: Some(plan),
        closed_at: (!open).then(|| started + TimeDelta::seconds(130)),
        ..Run::new(
            &start,
            if open { RunPhase::Running } else { RunPhase::Closed },
            started + TimeDelta::seconds(i64::try_from(n % 50).unwrap()),
        )
    };
    if !open {
        run.pages = domain::run::PagesThere::Portfolios;
        run.pages_at = Some(started + TimeDelta::seconds(140));
        run.publication = Publication::Published { at: started + TimeDelta::seconds(140), files_written: 9 };
    }
    let items: Vec<WorkItem> =
        fates.iter().enumerate().filter_map(|(at, fate)| item(&run, at, *fate, started)).collect();
    let planned = (0..fates.len()).map(|at| PlannedPortfolio { id: id_of(at), name: name_of(at) }).collect();
    let summary = (!open).then(|| summarise(&run, &items, &BTreeMap::new()));
    Entry { run, summary, items, planned }
}

fn name_of(at: usize) -> String {
    if at == 0 { "Evil <script>alert(1)</script> \u{202E}dnuf".into() } else { format!("Fund number {at}") }
}

fn item(run: &Run, at: usize, fate: Fate, started: DateTime<Utc>) -> Option<WorkItem> {
    let key = ItemKey { run: run.batch_run_id, portfolio: id_of(at) };
    let place = Place { bucket: at as u32 / 100, index: at as u32 % 100 };
    let mut item = WorkItem::untouched(key, name_of(at), place);
    item.attempt = 1;
    item.heartbeat = Some(started + TimeDelta::seconds(30 + at as i64));
    item.state = match fate {
        Fate::Untouched => return None,
        Fate::Lost => ItemState::Lost,
        Fate::Working => {
            ItemState::Working { owner: Owner(Uuid::from_u128(1)), lease_until: started + TimeDelta::seconds(90) }
        }
        _ => ItemState::Done,
    };
    let specs = jobs();
    for (n, spec) in specs.iter().enumerate() {
        if n >= 3 && matches!(fate, Fate::Lost | Fate::Working) {
            break;
        }
        let mut record = JobRecord::blank(run.batch_run_id, &id_of(at), &item.portfolio_name, spec, JobStatus::Success);
        record.attempt = 1;
        record.started_at = Some(started + TimeDelta::seconds(n as i64));
        record.completed_at = Some(started + TimeDelta::seconds(n as i64 + 1));
        record.duration_seconds = Some(0.4 + n as f64 * 0.31 + (at * 7 % 13) as f64 * 0.11);
        if n == 4 {
            record.quality = Some(quality(fate));
        }
        match (fate, n) {
            (Fate::Retried, 1) => record.attempt = 2,
            (Fate::Fails, 4) => {
                record.status = JobStatus::Failed;
                record.quality = None;
                let text = format!("portfolio {} worth $1,234,567 has no usable equity", id_of(at));
                let error = JobError::new(ErrorCategory::Permanent, text);
                record.error = Some(error.recorded(&spec.name, &[id_of(at).as_str()]));
            }
            (Fate::Fails, 5 | 6) => {
                record.status = JobStatus::Skipped;
                record.attempt = 0;
                record.duration_seconds = None;
                let job = specs[4].name.clone();
                record.skipped_because = Some(SkippedBecause { reason: format!("{job} failed"), job });
            }
            _ => {}
        }
        item.records.push(record);
    }
    if fate == Fate::Working {
        let progress = Progress { done: 15, total: 75, item: "position 15/75 AAPL".into(), at: started };
        item.in_hand =
            Some(InHand { job: specs[3].name.clone(), attempt: 1, started_at: started, progress: Some(progress) });
    }
    Some(item)
}

fn quality(fate: Fate) -> Quality {
    let limited = fate == Fate::Limited;
    Quality {
        flag: if limited { QualityFlag::Limited } else { QualityFlag::Full },
        data_days: if limited { 112 } else { 252 },
        required_days: 252,
        positions_processed: 16,
        positions_total: 17,
        symbols_missing: if limited { vec!["ZVZZT".into()] } else { vec![] },
        notes: if limited { vec!["ZVZZT has no price since 2026-06-01".into()] } else { vec![] },
    }
}
