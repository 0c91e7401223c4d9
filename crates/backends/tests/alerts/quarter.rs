//! A quarter of nights with reruns, mutes, misses and backfills, against a plain model: what is open is what the newest
//! night that ran has.

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

/// What the model knows: the failures of each date that ran, by portfolio and cause.
#[derive(Default)]
struct Model {
    ran: BTreeMap<NaiveDate, BTreeSet<(CauseId, PortfolioId)>>,
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

    fn open(&self) -> BTreeSet<CauseId> {
        self.ran.values().next_back().into_iter().flatten().map(|(cause, _)| cause.clone()).collect()
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

fn play(seed: u64) {
    let mut random = Seeded(seed);
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    let mut model = Model::default();
    let mut missed: Vec<i64> = Vec::new();
    for session in 0..60 {
        let of = slot(session);
        if random.one_in(12) {
            let until = of + TimeDelta::days(3);
            let muted = id_of(&factors());
            world.rules.mutes = vec![Mute { fingerprint: Some(muted), portfolio: None, until, reason: "known".into() }];
        }
        if random.one_in(8) {
            let summary = RunSummary { status: RunStatus::Missed, ..world.summary(of, vec![]) };
            world.record(&summary, &[]);
            world.tell(&summary);
            missed.push(session);
        } else {
            let failures = random.failures();
            run_at(&mut world, of, of, &failures, &[]);
            model.full(of.date_naive(), &failures);
            if !failures.is_empty() && random.one_in(2) {
                let filter = failures[0].portfolios.clone();
                let again = if random.one_in(2) { vec![failures[0].clone()] } else { Vec::new() };
                run_at(&mut world, of, of + TimeDelta::hours(1), &again, &filter);
                model.rerun(of.date_naive(), &filter, &again);
            }
        }
        if !missed.is_empty() && random.one_in(4) {
            let late = missed.remove(random.below(missed.len() as u64) as usize);
            let failures = random.failures();
            run_at(&mut world, slot(late), of + TimeDelta::hours(3), &failures, &[]);
            model.full(slot(late).date_naive(), &failures);
        }
        let book = block_on(world.store.alert_book(&schedule())).unwrap();
        let open: BTreeSet<CauseId> =
            book.incidents.keys().filter(|cause| cause.as_str() != CauseId::MISSED).cloned().collect();
        assert_eq!(open, model.open(), "seed {seed}, session {session}");
    }
    world.rules.mutes.clear();
    for session in 60..70 {
        run_at(&mut world, slot(session), slot(session), &[], &[]);
    }
    check_messages(seed, &world.got(0));
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
        if message.kind == AlertKind::Recovery {
            assert!(pager.remove(message.dedup_key.as_str()), "seed {seed}: nothing to close: {message:#?}");
        } else {
            assert_eq!(critical, bad, "seed {seed}: {message:#?}");
            pager.insert(&message.dedup_key);
        }
    }
    assert!(pager.is_empty(), "seed {seed}: open for ever: {pager:?}");
}

#[test]
fn a_quarter_of_nights_agrees_with_a_plain_model() {
    for seed in 0..40 {
        play(seed);
    }
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
