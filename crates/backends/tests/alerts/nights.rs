//! Which nights are worth a message: never the same twice.

use super::*;

#[test]
fn a_week_of_nights_repeats_nothing() {
    let mut world =
        World::new(AlertRules::default()).with_desk().with("pager", Severity::Critical, Box::new(|_| Ok(())));
    let nights: [Vec<FailureCluster>; 7] =
        [vec![], vec![factors()], vec![factors()], vec![factors(), stress()], vec![stress()], vec![], vec![]];
    for (day, failures) in (2..).zip(nights) {
        let summary = world.run(night(day), failures);
        world.tell(&summary);
        world.watch_until(night(day + 1));
    }
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut runs: BTreeMap<RunId, usize> = BTreeMap::new();
    for message in world.got(0) {
        *ids.entry(message.alert_id).or_default() += 1;
        *runs.entry(message.batch_run_id).or_default() += 1;
    }
    assert!(ids.values().chain(runs.values()).all(|count| *count == 1), "{ids:?} {runs:?}");
    use AlertKind::{Open, PartialRecovery, Recovery, Reminder, Update};
    assert_eq!(world.kinds(0), [Open, Reminder, Update, PartialRecovery, Recovery]);
    assert_eq!(world.kinds(1), [], "nothing was critical");
    assert_eq!(world.receivers[0].tries.lock().unwrap().len(), 5);
}

#[test]
fn a_cause_is_told_after_so_many_runs_and_not_while_it_is_muted() {
    let mut world = World::new(AlertRules { wait_runs: 2, ..AlertRules::default() }).with_desk();
    world.run(night(2), vec![factors()]);
    world.run(night(3), vec![]);
    assert_eq!(world.kinds(0), [], "once is not told, nor that it is over");
    world.run(night(4), vec![factors()]);
    world.run(night(5), vec![factors()]);
    assert_eq!(world.kinds(0), [AlertKind::Open]);
    assert_eq!(world.got(0)[0].top_causes[0].runs, 2);

    let until = night(7) + TimeDelta::hours(1);
    let mute = Mute {
        fingerprint: Some(CauseId::from(&factors().fingerprint)),
        portfolio: None,
        until,
        reason: "known".into(),
    };
    world.rules.mutes = vec![mute];
    world.run(night(6), vec![factors()]);
    world.run(night(7), vec![factors()]);
    assert_eq!(world.kinds(0), [AlertKind::Open]);
    world.run(night(8), vec![factors()]);
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Reminder], "the mute is over");
    assert_eq!(world.got(0)[1].top_causes[0].runs, 5);
}

#[test]
fn a_rerun_of_some_portfolios_recovers_those_and_no_other() {
    let mut world = World::new(AlertRules::default()).with_desk();
    let bad = world.run(night(2), vec![factors()]);
    let rerun = |world: &mut World, minutes, failures, filter: &[PortfolioId]| {
        let mut summary = world.summary(night(2), failures);
        summary.rerun_of = Some(bad.batch_run_id);
        summary.started_at = night(2) + TimeDelta::minutes(minutes);
        summary.closed_at = Some(summary.started_at + TimeDelta::minutes(1));
        world.record(&summary, filter);
        world.tell(&summary);
    };
    rerun(&mut world, 60, vec![], &portfolios(9..12));
    assert_eq!(world.kinds(0), [AlertKind::Open], "others that are well say nothing of these");
    rerun(&mut world, 120, vec![], &portfolios(0..4));
    assert_eq!(world.kinds(0), [AlertKind::Open], "three are left");
    rerun(&mut world, 180, vec![], &portfolios(4..7));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Recovery]);
    assert_eq!(world.got(0)[1].recovered[0].lasted_seconds, 3 * 3_600);
    // A run of an older slot changes nothing of what newer ones said.
    world.run(night(3), vec![stress()]);
    world.run(night(1), vec![]);
    assert_eq!(world.kinds(0)[2..], [AlertKind::Open]);
}
