//! A quarter of nights with reruns, mutes, misses, backfills, closures, acceptances and restatements, against a plain
//! model: what is open is what the newest night that ran has and nobody accepted.

use domain::night::causes::cause_of;

use super::*;

/// A small generator: the same seed gives the same quarter.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Failures of a night: none, some or all portfolios, by one or two causes.
    fn failures(&mut self) -> Vec<FailureCluster> {
        let mut failures = Vec::new();
        for (digit, job) in [('a', "factor_analysis"), ('b', "stress_testing")] {
            if self.one_in(3) {
                let last = if self.one_in(4) { 20 } else { 1 + self.below(5) as u32 };
                failures.push(cause(digit, job, portfolios(0..last)));
            }
        }
        failures
    }
}

fn slot(session: i64) -> DateTime<Utc> {
    night(2) + TimeDelta::days(session)
}

fn id_of(cluster: &FailureCluster) -> CauseId {
    cause_of(&failure(cluster))
}

/// What the model knows of each date that ran: the failures by portfolio and cause, whether a control failed and nobody
/// accepted it, and the figure that each portfolio recorded last.
#[derive(Default)]
struct Model {
    ran: BTreeMap<NaiveDate, BTreeSet<(CauseId, PortfolioId)>>,
    controls: BTreeSet<NaiveDate>,
    figures: BTreeMap<(NaiveDate, PortfolioId), u64>,
    /// Runs that changed a figure.
    restated: usize,
    /// Acceptances that ended an incident.
    accepted: usize,
}

impl Model {
    fn full(&mut self, as_of: NaiveDate, failures: &[FailureCluster]) {
        let failed = failures.iter().flat_map(|one| one.portfolios.iter().map(|id| (id_of(one), id.clone()))).collect();
        self.ran.insert(as_of, failed);
    }

    fn rerun(&mut self, as_of: NaiveDate, filter: &[PortfolioId], failures: &[FailureCluster]) {
        let night = self.ran.get_mut(&as_of).unwrap();
        night.retain(|(_, id)| !filter.contains(id));
        for one in failures {
            night.extend(one.portfolios.iter().filter(|id| filter.contains(id)).map(|id| (id_of(one), id.clone())));
        }
    }

    /// A run recorded this figure for these portfolios.
    fn record(&mut self, as_of: NaiveDate, portfolios: &[PortfolioId], figure: u64) {
        let before: Vec<Option<u64>> =
            portfolios.iter().map(|id| self.figures.insert((as_of, id.clone()), figure)).collect();
        self.restated += usize::from(before.into_iter().flatten().any(|was| was != figure));
    }

    fn accept(&mut self, as_of: NaiveDate) {
        let newest = self.ran.keys().next_back() == Some(&as_of);
        self.accepted += usize::from(self.controls.remove(&as_of) && newest);
    }

    fn open(&self) -> BTreeSet<CauseId> {
        let Some((newest, failed)) = self.ran.iter().next_back() else { return BTreeSet::new() };
        let control = self.controls.contains(newest).then(|| CauseId::of_control(Control::NewestClose));
        failed.iter().map(|(cause, _)| cause.clone()).chain(control).collect()
    }
}

/// A quarter as it is played, beside its model.
struct Quarter {
    seed: u64,
    random: Seeded,
    world: World,
    model: Model,
}

impl Quarter {
    fn new(seed: u64) -> Self {
        let world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
        Self { seed, random: Seeded(seed), world, model: Model::default() }
    }

    /// The portfolios that are open on a date.
    fn open_on(&self, as_of: NaiveDate) -> Vec<PortfolioId> {
        let is_open = |id: &PortfolioId| self.world.closures.get(id).is_none_or(|from| *from > as_of);
        portfolios(0..20).into_iter().filter(is_open).collect()
    }

    /// Failures of open portfolios alone.
    fn failures(&mut self, as_of: NaiveDate) -> Vec<FailureCluster> {
        let open = self.open_on(as_of);
        let mut failures = self.random.failures();
        for one in &mut failures {
            one.portfolios.retain(|id| open.contains(id));
            (one.count, one.skipped) = (one.portfolios.len() as u64, one.portfolios.len() as u64 * 2);
        }
        failures.retain(|one| !one.portfolios.is_empty());
        failures
    }

    /// A run at this time of the date of a slot; an empty filter is a full run. Its figure is as before or another one.
    fn run(&mut self, of: DateTime<Utc>, at: DateTime<Utc>, failures: &[FailureCluster], filter: &[PortfolioId]) {
        let as_of = of.date_naive();
        let figure = self.random.below(2);
        self.world.pnl = Some(figure as f64);
        run_at(&mut self.world, of, at, failures, filter);
        if filter.is_empty() {
            self.model.full(as_of, failures);
            let open = self.open_on(as_of);
            self.model.record(as_of, &open, figure);
        } else {
            self.model.rerun(as_of, filter, failures);
            self.model.record(as_of, filter, figure);
        }
    }

    /// A full run, now and then with a control that fails.
    fn full_run(&mut self, of: DateTime<Utc>, at: DateTime<Utc>) -> Vec<FailureCluster> {
        let failures = self.failures(of.date_naive());
        self.world.controls.clear();
        if self.random.one_in(4) {
            self.world.controls.push(super::closing::failed_control(Control::NewestClose, None));
            self.model.controls.insert(of.date_naive());
        }
        self.run(of, at, &failures, &[]);
        failures
    }

    fn rerun(&mut self, of: DateTime<Utc>, failures: &[FailureCluster]) {
        let filter = failures[0].portfolios.clone();
        let again = if self.random.one_in(2) { vec![failures[0].clone()] } else { Vec::new() };
        self.run(of, of + TimeDelta::hours(1), &again, &filter);
    }

    /// Somebody accepts the control of a date, the newest or another one.
    fn accept(&mut self, at: DateTime<Utc>) {
        let dates: Vec<NaiveDate> = self.model.controls.iter().copied().collect();
        if dates.is_empty() || self.random.one_in(2) {
            return;
        }
        let newest = dates.len() as u64 - 1;
        let which = if self.random.one_in(3) { self.random.below(newest + 1) } else { newest };
        self.world.at(at);
        self.world.accept(dates[which as usize], Control::NewestClose, None);
        self.model.accept(dates[which as usize]);
    }

    fn check(&self, session: i64) {
        let book = block_on(self.world.store.alert_book(&schedule())).unwrap();
        let open: BTreeSet<CauseId> =
            book.incidents.keys().filter(|cause| cause.as_str() != CauseId::MISSED).cloned().collect();
        assert_eq!(open, self.model.open(), "seed {}, session {session}", self.seed);
    }

    fn session(&mut self, session: i64, missed: &mut Vec<i64>) {
        let of = slot(session);
        if self.random.one_in(12) {
            let until = of + TimeDelta::days(3);
            let fingerprint = Some(id_of(&factors()));
            self.world.rules.mutes = vec![Mute { fingerprint, portfolio: None, until, reason: "known".into() }];
        }
        if self.random.one_in(10) && self.world.closures.len() < 10 {
            let id = PortfolioId::new(format!("p{:02}", self.random.below(20))).unwrap();
            self.world.closures.entry(id).or_insert(of.date_naive());
        }
        if self.random.one_in(8) {
            let summary = RunSummary { status: RunStatus::Missed, ..self.world.summary(of, vec![]) };
            self.world.record(&summary, &[]);
            self.world.tell(&summary);
            missed.push(session);
        } else {
            let failures = self.full_run(of, of);
            if !failures.is_empty() && self.random.one_in(2) {
                self.rerun(of, &failures);
            }
        }
        self.check(session);
        self.accept(of + TimeDelta::hours(2));
        self.check(session);
        if !missed.is_empty() && self.random.one_in(4) {
            let late = missed.remove(self.random.below(missed.len() as u64) as usize);
            self.full_run(slot(late), of + TimeDelta::hours(3));
        }
        self.check(session);
    }
}

/// A run at this time of the date of a slot.
fn run_at(
    world: &mut World,
    of: DateTime<Utc>,
    at: DateTime<Utc>,
    failures: &[FailureCluster],
    filter: &[PortfolioId],
) {
    let mut summary = world.summary(of, failures.to_vec());
    summary.started_at = at;
    summary.closed_at = Some(at + TimeDelta::minutes(5));
    world.record(&summary, filter);
    world.tell(&summary);
}

/// Plays a quarter; gives the restatements, the acceptances and the closures that it had.
fn play(seed: u64) -> [usize; 3] {
    let mut quarter = Quarter::new(seed);
    let mut missed: Vec<i64> = Vec::new();
    for session in 0..60 {
        quarter.session(session, &mut missed);
    }
    let Quarter { mut world, model, .. } = quarter;
    world.rules.mutes.clear();
    world.controls.clear();
    for session in 60..70 {
        run_at(&mut world, slot(session), slot(session), &[], &[]);
    }
    let got = world.got(0);
    check_messages(seed, &got);
    let restated = got.iter().filter(|message| message.kind == AlertKind::Restatement).count();
    assert_eq!(restated, model.restated, "seed {seed}: one message for each run that changed a figure");
    let lines = got.iter().flat_map(|message| &message.recovered);
    let accepted = lines.filter(|line| line.because.as_deref().is_some_and(|why| why.starts_with("accepted by ann")));
    assert_eq!(accepted.count(), model.accepted, "seed {seed}: one recovery for each acceptance that ends an incident");
    [restated, model.accepted, world.closures.len()]
}

/// Every key that a message opened is closed by a recovery with the same key; no run has two messages of a kind; severity
/// goes by night.
fn check_messages(seed: u64, got: &[AlertMessage]) {
    let mut pager: BTreeSet<&str> = BTreeSet::new();
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    for message in got {
        assert_schema(message);
        assert!(ids.insert(&message.alert_id), "seed {seed}: {} twice", message.alert_id);
        let critical = message.severity == Severity::Critical;
        let bad = matches!(message.status, RunStatus::Failed | RunStatus::Missed);
        assert!(!critical || bad, "seed {seed}: {message:#?}");
        match message.kind {
            AlertKind::Recovery => {
                assert!(pager.remove(message.dedup_key.as_str()), "seed {seed}: nothing to close: {message:#?}");
            }
            AlertKind::Restatement => assert_eq!(message.severity, Severity::Info),
            _ => {
                assert_eq!(critical, bad, "seed {seed}: {message:#?}");
                pager.insert(&message.dedup_key);
            }
        }
    }
    assert!(pager.is_empty(), "seed {seed}: open for ever: {pager:?}");
}

#[test]
fn a_quarter_of_nights_agrees_with_a_plain_model() {
    let mut seen = [0; 3];
    for seed in 0..40 {
        for (sum, n) in seen.iter_mut().zip(play(seed)) {
            *sum += n;
        }
    }
    assert!(seen.iter().all(|n| *n > 40), "restatements, acceptances and closures all occur: {seen:?}");
}

#[test]
fn a_key_is_closed_by_the_same_key() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    for (day, failures) in (2..).zip([vec![factors()], vec![factors(), stress()], vec![stress()], vec![]]) {
        world.run(night(day), failures);
    }
    use AlertKind::{Open, PartialRecovery, Recovery, Update};
    assert_eq!(world.kinds(0), [Open, Update, PartialRecovery, Recovery]);
    let keys: BTreeSet<String> = world.got(0).into_iter().map(|message| message.dedup_key).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(block_on(world.store.alert_book(&schedule())).unwrap().open_key, None);
}

#[test]
fn severity_goes_by_night() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    // 1 of 20 failed, and its rerun fails again.
    let one = || vec![cause('a', "factor_analysis", portfolios(0..1))];
    run_at(&mut world, night(2), night(2), &one(), &[]);
    run_at(&mut world, night(2), night(2) + TimeDelta::hours(1), &one(), &portfolios(0..1));
    let severities: Vec<Severity> = world.got(0).iter().map(|message| message.severity).collect();
    assert_eq!(severities, [Severity::Warning], "the rerun says nothing new");
    // Every portfolio fails, by one of the two causes that were open.
    let all = || cause('b', "stress_testing", portfolios(0..20));
    run_at(&mut world, night(3), night(3), &[one().remove(0), all()], &[]);
    run_at(&mut world, night(4), night(4), &[all()], &[]);
    let last = world.got(0).pop().unwrap();
    assert_eq!((last.kind, last.severity), (AlertKind::PartialRecovery, Severity::Critical));
}

#[test]
fn missed_slots_are_one_message_from_the_oldest_whatever_wait_runs_says() {
    let mut world = World::new(AlertRules { wait_runs: 2, digest: Some(false), ..AlertRules::default() }).with_desk();
    let slots: Vec<RunSummary> = (3..6)
        .map(|day| RunSummary { status: RunStatus::Missed, ..world.summary(night(day), vec![]) })
        .map(|missed| RunSummary { closed_at: Some(night(6)), ..missed })
        .collect();
    for missed in &slots {
        world.record(missed, &[]);
        world.night(missed.as_of);
    }
    for missed in slots.iter().rev() {
        world.tell(missed);
    }
    let got = world.got(0);
    assert_eq!(world.kinds(0), [AlertKind::Missed], "{got:#?}");
    assert_eq!((got[0].top_causes[0].since, got[0].top_causes[0].runs), (night(3).date_naive(), 3));
    world.run(night(7), vec![]);
    let gone = &world.got(0)[1].recovered[0];
    assert_eq!((gone.since, gone.runs), (night(3).date_naive(), 3));
}

#[test]
fn a_recovery_during_a_mute_is_reported_after_it() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    world.run(night(2), vec![factors()]);
    let fingerprint = Some(CauseId::from(&factors().fingerprint));
    world.rules.mutes = vec![Mute { fingerprint, portfolio: None, until: night(5), reason: "the vendor knows".into() }];
    world.run(night(3), vec![factors()]);
    world.run(night(4), vec![]);
    assert_eq!(world.kinds(0), [AlertKind::Open]);
    world.run(night(6), vec![]);
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Recovery]);
    assert_eq!(world.got(0)[0].dedup_key, world.got(0)[1].dedup_key);
}

#[test]
fn an_older_night_opens_nothing_that_later_nights_show_to_be_over() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    world.run(night(9), vec![]);
    run_at(&mut world, night(3), night(9) + TimeDelta::hours(2), &[factors()], &[]);
    run_at(&mut world, night(4), night(9) + TimeDelta::hours(3), &[], &[]);
    assert_eq!(world.kinds(0), [], "both dates are over");
}
