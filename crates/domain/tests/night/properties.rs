//! What holds for any runs, filters, reruns, cancellations, closures, abandoned plans and acceptances.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{JobName, PortfolioId};
use domain::night::{
    Acceptance, Control, Failure, JobResult, Level, Night, NightJob, NightPlan, NightRun, NightRunState, PortfolioRun,
    Verdict,
};
use domain::words::{ErrorCategory, JobStatus};
use proptest::prelude::*;

use crate::night_samples::*;

const PORTFOLIOS: u32 = 5;
const JOBS: usize = 4;
const CONTROLS: [Control; 3] = [Control::NewestClose, Control::Positions, Control::PriceJump];

/// What became of one work item: whether it ended on its own, and its jobs.
type Item = (bool, Vec<(JobStatus, u8)>);

/// One run before it is built.
#[derive(Debug, Clone)]
struct Draft {
    started: i64,
    kind: u8,
    full: bool,
    subset: Vec<bool>,
    open: Vec<bool>,
    before: Vec<bool>,
    closures: Vec<Option<i64>>,
    jobs: usize,
    items: Vec<Item>,
    controls: Vec<(usize, Option<usize>, bool)>,
}

fn status() -> impl Strategy<Value = JobStatus> {
    prop_oneof![
        5 => Just(JobStatus::Success),
        1 => Just(JobStatus::Failed),
        1 => Just(JobStatus::Skipped),
        1 => Just(JobStatus::Missing),
        1 => Just(JobStatus::Running),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let bits = |weight| prop::collection::vec(prop::bool::weighted(weight), PORTFOLIOS as usize);
    let item = (prop::bool::weighted(0.8), prop::collection::vec((status(), 0u8..3), JOBS));
    let control = (0..CONTROLS.len(), prop::option::of(0..PORTFOLIOS as usize), any::<bool>());
    (
        (0i64..6, 0u8..10, any::<bool>(), bits(0.4), bits(0.9), bits(0.2)),
        prop::collection::vec(prop::option::weighted(0.15, -1i64..2), PORTFOLIOS as usize),
        2..=JOBS,
        prop::collection::vec(item, PORTFOLIOS as usize),
        prop::collection::vec(control, 0..3),
    )
        .prop_map(|((started, kind, full, subset, open, before), closures, jobs, items, controls)| Draft {
            started,
            kind,
            full,
            subset,
            open,
            before,
            closures,
            jobs,
            items,
            controls,
        })
}

/// The portfolios whose bit is set.
fn chosen(bits: &[bool]) -> BTreeSet<PortfolioId> {
    ids(PORTFOLIOS).into_iter().zip(bits).filter(|(_, bit)| **bit).map(|(id, _)| id).collect()
}

fn job_list(count: usize) -> Vec<NightJob> {
    nine_jobs().into_iter().take(count).collect()
}

fn item_of((ended_on_its_own, jobs): &Item) -> PortfolioRun {
    let first = job_list(1).remove(0).name;
    let record = |(at, (status, cause)): (usize, &(JobStatus, u8))| -> JobResult {
        let message = format!("cause {}", ["a", "b", "c"][usize::from(*cause)]);
        let failure = Failure { category: ErrorCategory::ALL[usize::from(*cause)], masked: message.clone(), message };
        JobResult {
            job: job_list(JOBS).remove(at).name,
            status: *status,
            failure: (*status == JobStatus::Failed && *cause < 2).then_some(failure),
            skipped_because: (*cause < 2).then(|| first.clone()),
        }
    };
    PortfolioRun {
        ended_on_its_own: *ended_on_its_own,
        jobs: jobs.iter().enumerate().map(record).collect(),
        ..PortfolioRun::default()
    }
}

impl Draft {
    fn plan(&self) -> NightPlan {
        let closures: BTreeMap<_, _> = ids(PORTFOLIOS)
            .into_iter()
            .zip(&self.closures)
            .filter_map(|(id, days)| days.map(|days| (id, as_of() + chrono::Duration::days(days))))
            .collect();
        let mut open = chosen(&self.open);
        open.retain(|id| closures.get(id).is_none_or(|date| *date > as_of()));
        NightPlan {
            open,
            closures,
            expected_before: chosen(&self.before),
            jobs: job_list(self.jobs),
            newest_close: Some(as_of() - chrono::Duration::days(self.started % 3)),
            ..plan(&[])
        }
    }

    fn build(&self, n: usize) -> NightRun {
        let n = n as u128 + 1;
        let sealed = self.plan();
        let mut filter: Vec<PortfolioId> = Vec::new();
        if !self.full {
            filter.extend(chosen(&self.subset));
            filter.extend(filter.is_empty().then(|| id("p01")));
        }
        let held = |id: &PortfolioId| sealed.open.contains(id) && (self.full || filter.contains(id));
        let portfolios = ids(PORTFOLIOS)
            .into_iter()
            .zip(&self.items)
            .filter(|(id, _)| held(id))
            .map(|(id, item)| (id, item_of(item)))
            .collect();
        let controls = self
            .controls
            .iter()
            .map(|(which, portfolio, fails)| {
                let level = if *fails { Level::Failure } else { Level::Warning };
                control(CONTROLS[*which], level, portfolio.map(|at| ids(PORTFOLIOS)[at].clone()).as_ref())
            })
            .collect();
        let started_at = at(self.started);
        let ended = |canceled| NightRunState::Ended { at: at(self.started + 1), canceled };
        let run = NightRun {
            id: run_id(n),
            started_at,
            filter,
            plan: Some(sealed),
            portfolios,
            controls,
            ..full(n, BTreeMap::new())
        };
        match self.kind {
            0 => NightRun { started_at, ..missed(n) },
            1 => NightRun { started_at, ..abandoned(n, ErrorCategory::Permanent, "the book cannot be read") },
            2 => NightRun { state: NightRunState::Open, ..run },
            3 => NightRun { state: ended(true), ..run },
            _ => NightRun { state: ended(false), ..run },
        }
    }
}

fn runs() -> impl Strategy<Value = Vec<NightRun>> {
    prop::collection::vec(draft(), 1..7)
        .prop_map(|drafts| drafts.iter().enumerate().map(|(n, draft)| draft.build(n)).collect())
}

fn acceptances() -> impl Strategy<Value = Vec<Acceptance>> {
    let one = (0..CONTROLS.len(), prop::option::of(0..PORTFOLIOS as usize), 0i64..8);
    let accept = |(which, portfolio, minutes): (usize, Option<usize>, i64)| {
        let mut accepted =
            acceptance(CONTROLS[which], portfolio.map(|at| ids(PORTFOLIOS)[at].clone()).as_ref(), minutes);
        accepted.note = format!("note {minutes}");
        accepted
    };
    prop::collection::vec(one.prop_map(accept), 0..4)
}

fn fold(runs: &[NightRun], acceptances: &[Acceptance]) -> Night {
    Night::of(&series(), as_of(), runs, acceptances).unwrap()
}

fn statuses<'a>(night: &'a Night, id: &PortfolioId) -> BTreeMap<&'a JobName, JobStatus> {
    let outcome = night.outcomes.get(id).map_or(&[][..], |outcome| &outcome.jobs);
    night.jobs.iter().map(|job| &job.name).zip(outcome.iter().map(|job| job.status)).collect()
}

/// The unaccepted level of each result about the run, by control.
fn run_levels(night: &Night) -> BTreeMap<Control, Level> {
    let about_run = night.controls.iter().filter(|control| control.result.portfolio_id.is_none());
    about_run.map(|control| (control.result.control, control.result.level)).collect()
}

fn has_ended_full_run(runs: &[NightRun]) -> bool {
    runs.iter().any(|run| run.is_full() && run.is_ended() && run.plan.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn totals_add_up_and_causes_explain_all(runs in runs()) {
        let night = fold(&runs, &[]);
        let totals = night.totals;
        prop_assert_eq!(totals.success + totals.failed + totals.skipped + totals.missing, totals.total_jobs);
        prop_assert_eq!(totals.total_jobs, night.expected_portfolios() * night.jobs.len() as u64);
        let explained: u64 = night.causes.iter().map(|cause| cause.explains()).sum();
        let absent = night.absent.len() as u64 * night.jobs.len() as u64;
        prop_assert_eq!(explained + absent, totals.not_succeeded());
        for cause in &night.causes {
            prop_assert!(cause.failed_jobs.iter().all(|job| cause.jobs.contains(job)));
        }
    }

    #[test]
    fn absent_portfolios_are_missing_in_every_job(runs in runs()) {
        let night = fold(&runs, &[]);
        for id in &night.absent {
            let outcome = &night.outcomes[id];
            prop_assert!(outcome.jobs.iter().all(|job| job.status == JobStatus::Missing));
            prop_assert_eq!(outcome.newest_run.filter(|_| outcome.decided_by.is_some()), None);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        (runs, shuffled) in runs().prop_flat_map(|runs| (Just(runs.clone()), Just(runs).prop_shuffle())),
        (accepted, other) in acceptances().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(fold(&runs, &accepted), fold(&shuffled, &other));
    }

    #[test]
    fn a_verdict_says_what_it_promises(runs in runs(), accepted in acceptances()) {
        let night = fold(&runs, &accepted);
        let open = runs.iter().any(NightRun::is_open);
        let whole = night.outcomes.values().filter(|outcome| outcome.succeeded_wholly()).count();
        match night.verdict {
            Verdict::Ok | Verdict::Warning => {
                prop_assert!(night.totals.not_succeeded() == 0 && night.absent.is_empty() && whole > 0);
                let failure = night.controls.iter().any(|c| c.accepted.is_none() && c.result.level == Level::Failure);
                prop_assert!(!failure);
                let open_result = night.controls.iter().any(|control| control.accepted.is_none());
                prop_assert_eq!(open_result, night.verdict == Verdict::Warning);
            }
            Verdict::Partial => prop_assert!(whole > 0),
            Verdict::Failed => prop_assert_eq!(whole, 0),
            Verdict::Missed => prop_assert!(runs.iter().all(|run| run.state == NightRunState::Missed)),
            Verdict::Running => prop_assert!(open && !night.full_run_ended),
        }
        prop_assert_eq!(night.in_progress.is_empty(), !open);
    }

    #[test]
    fn a_filtered_run_never_improves_what_it_did_not_cover(runs in runs(), mut extra in draft()) {
        extra.full = false;
        let before = fold(&runs, &[]);
        let extra = extra.build(runs.len());
        let mut more = runs.clone();
        more.push(extra.clone());
        let after = fold(&more, &[]);
        let stands = has_ended_full_run(&runs);
        for id in ids(PORTFOLIOS).iter().filter(|id| !extra.portfolios.contains_key(*id)) {
            let (was, is) = (statuses(&before, id), statuses(&after, id));
            for (job, status) in &was {
                if let Some(now) = is.get(job) {
                    prop_assert_eq!(now, status, "{} of {}", job, id);
                }
            }
            if stands {
                prop_assert_eq!(&was, &is);
                prop_assert_eq!(before.absent.contains(id), after.absent.contains(id));
                let of = |night: &Night| -> Vec<_> {
                    let about = |c: &&domain::night::NightControl| c.result.portfolio_id.as_ref() == Some(id);
                    night.controls.iter().filter(about).cloned().collect()
                };
                prop_assert_eq!(of(&before), of(&after));
            }
        }
        if stands {
            let now = run_levels(&after);
            for (control, level) in run_levels(&before) {
                prop_assert!(now.get(&control).is_some_and(|now| *now >= level), "{} was removed", control);
            }
            prop_assert!(after.newest_close <= before.newest_close);
            prop_assert_eq!(&before.closed, &after.closed);
        }
    }

    #[test]
    fn one_more_success_never_makes_a_verdict_worse(
        runs in runs(),
        accepted in acceptances(),
        which in any::<prop::sample::Index>(),
        portfolio in 0..PORTFOLIOS as usize,
        job in 0..JOBS,
    ) {
        let before = fold(&runs, &accepted);
        let mut better = runs.clone();
        let run = &mut better[which.index(runs.len())];
        if let Some(item) = run.portfolios.get_mut(&ids(PORTFOLIOS)[portfolio]) {
            item.jobs[job] = result(item.jobs[job].job.as_str(), JobStatus::Success);
        }
        let after = fold(&better, &accepted);
        prop_assert!(after.verdict.severity() <= before.verdict.severity(), "{} from {}", after.verdict, before.verdict);
        prop_assert_eq!(after.verdict.severity().is_some(), before.verdict.severity().is_some());
    }

    #[test]
    fn canceled_lost_and_unplanned_reruns_change_nothing(runs in runs(), mut extra in draft(), end in 0u8..4) {
        let before = fold(&runs, &[]);
        prop_assume!(before.full_run_ended);
        extra.kind = 9;
        let mut extra = extra.build(runs.len());
        let decided = |id: &PortfolioId| before.outcomes.get(id).is_some_and(|outcome| outcome.decided_by.is_some());
        for (id, item) in &mut extra.portfolios {
            item.ended_on_its_own = false;
            // The records of lost work count where no run decides; here they would be new information.
            if !decided(id) {
                item.jobs.clear();
            }
        }
        let canceled = NightRunState::Ended { at: at(7), canceled: true };
        match end {
            0 => extra.state = canceled,
            1 if !extra.portfolios.is_empty() => {}
            2 => extra = NightRun { started_at: extra.started_at, ..abandoned(99, ErrorCategory::Transient, "gone") },
            _ => {
                extra.state = canceled;
                extra.plan = None;
                extra.portfolios.clear();
            }
        }
        let mut more = runs;
        more.push(extra.clone());
        let mut after = fold(&more, &[]);
        after.runs.retain(|run| *run != extra.id);
        // Which run held a portfolio last is shown, and decides nothing where another run does.
        let newest = |night: &mut Night| night.outcomes.values_mut().for_each(|outcome| outcome.newest_run = None);
        let mut before = before;
        newest(&mut before);
        newest(&mut after);
        let advised = |night: &mut Night| night.causes.iter_mut().for_each(|cause| cause.batch_run_id = None);
        advised(&mut before);
        advised(&mut after);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn an_acceptance_never_hides_a_job_that_did_not_succeed(runs in runs()) {
        let everything: Vec<Acceptance> = Control::ALL.iter().map(|c| acceptance(*c, None, 10_000)).collect();
        let (open, accepted) = (fold(&runs, &[]), fold(&runs, &everything));
        prop_assert_eq!((open.totals, &open.absent, &open.causes), (accepted.totals, &accepted.absent, &accepted.causes));
        prop_assert!(accepted.verdict.severity() <= open.verdict.severity());
        if accepted.totals.not_succeeded() > 0 || !accepted.absent.is_empty() {
            prop_assert!(!matches!(accepted.verdict, Verdict::Ok | Verdict::Warning));
        }
        prop_assert_eq!(open.controls.len(), accepted.controls.len(), "an accepted result is still shown");
    }

    #[test]
    fn a_night_survives_json(runs in runs(), accepted in acceptances()) {
        let night = fold(&runs, &accepted);
        let json = serde_json::to_string(&night).unwrap();
        prop_assert_eq!(serde_json::from_str::<Night>(&json).unwrap(), night);
    }

    /// Every night has a headline of whole sentences and a next step, for every kind of reader.
    #[test]
    fn every_night_has_a_headline_and_a_next_step(runs in runs(), accepted in acceptances()) {
        use domain::night::headline::Headline;
        use domain::night::next_step::{CommandTarget, next_step};
        let night = fold(&runs, &accepted);
        let folder = CommandTarget::Folder { book: None, data: "/srv/data".into() };
        for target in [folder, CommandTarget::Redacted] {
            let headline = Headline::of(&night, &[], &target);
            prop_assert!(headline.portfolios.ends_with('.'), "{}", headline);
            prop_assert!(headline.cause.as_ref().is_none_or(|cause| cause.ends_with('.')), "{}", headline);
            let step = next_step(&night, &[], &target);
            prop_assert_eq!(step.text.ends_with(':'), step.command.is_some());
            prop_assert_eq!(headline.action.is_none(), step.text == "No action is needed.");
            // A space before each: "11 jobs" is right.
            let wrong = [" 1 portfolios", " 1 jobs", " 1 results", " 1 of 1 portfolios", " all 1 "];
            let spaced = format!(" {headline}");
            prop_assert!(wrong.iter().all(|text| !spaced.contains(text)), "{}", headline);
        }
    }
}
