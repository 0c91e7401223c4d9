//! What messages say, word by word, and those about runs that take too long.

use super::*;

#[test]
fn what_people_are_told_word_by_word() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    world.run(night(2), vec![factors()]);
    world.run(night(3), vec![factors()]);
    world.run(night(4), vec![factors(), stress()]);
    world.run(night(5), vec![stress()]);
    world.run(night(6), vec![]);
    let missed = RunSummary { status: RunStatus::Missed, ..world.summary(night(9), vec![]) };
    world.record(&missed, &[]);
    world.tell(&missed);
    world.run(night(10), vec![]);
    world.rules.digest = None;
    let poor = QualitySummary { full: 5, limited: 14, failed: 1, ..QualitySummary::default() };
    let digest = RunSummary { data_quality: poor, ..world.summary(night(11), vec![]) };
    world.record(&digest, &[]);
    world.tell(&digest);
    let got = world.got(0);
    use AlertKind::{Digest, Missed, Open, PartialRecovery, Recovery, Reminder, Update};
    assert_eq!(world.kinds(0), [Open, Reminder, Update, PartialRecovery, Recovery, Missed, Recovery, Digest]);
    for message in &got {
        assert_schema(message);
    }
    let words: Vec<String> = got
        .iter()
        .map(|message| format!("Subject: {} [{}]\n\n{}", message.title, message.severity.as_str(), message.text()))
        .collect();
    insta::assert_snapshot!(words.join("\n=====\n\n"));
}

#[test]
fn the_form_of_a_message() {
    let mut world = World::new(AlertRules::default()).with_desk();
    world.run(night(2), vec![factors()]);
    insta::assert_json_snapshot!(world.got(0)[0]);
}

#[test]
fn a_message_to_try_a_channel_with_is_as_the_schema_says() {
    assert_schema(&AlertMessage::test(schedule(), RunId(uuid::Uuid::from_u128(1)), "https://night.example", night(2)));
}

/// A week of nights, each run told by two closers and looked at by the watch all day: one message a night at most, and
/// none twice.
#[test]
fn a_run_that_goes_on_for_too_long_is_told_once() {
    let mut world = World::new(AlertRules::default()).with_desk();
    let mut summary = world.summary(night(2), vec![]);
    world.record(&summary, &[]);
    let mut open = block_on(world.store.run(summary.batch_run_id)).unwrap().unwrap().run;
    let closed = open.clone();
    (open.phase, open.closed_at) = (RunPhase::Running, None);
    world.store.put(open, Vec::new(), None);
    world.at(night(2));
    world.watch_until(night(2) + TimeDelta::hours(3));
    assert_eq!(world.kinds(0), [AlertKind::Overdue]);
    assert_schema(&world.got(0)[0]);
    summary.closed_at = Some(night(2) + TimeDelta::hours(3));
    world.store.put(closed, Vec::new(), Some(summary.clone()));
    world.tell(&summary);
    assert_eq!(world.kinds(0), [AlertKind::Overdue, AlertKind::Recovery]);
}

#[test]
fn unusual_durations_are_told_once_a_week_at_the_lowest_severity() {
    let mut world = World::new(AlertRules::default()).with_desk();
    for day in 2..9 {
        world.run(night(day), vec![]);
    }
    assert_eq!(world.kinds(0), []);
    for day in 9..18 {
        let mut slow = world.summary(night(day), vec![]);
        slow.job_summary[0].p95_seconds = Some(80.0);
        world.record(&slow, &[]);
        world.tell(&slow);
    }
    let got = world.got(0);
    assert_eq!(got.iter().map(|message| message.created_at.day()).collect::<Vec<_>>(), [9], "then it is usual");
    assert_eq!((got[0].kind, got[0].severity), (AlertKind::Digest, Severity::Info));
    assert!(got[0].notes[0].contains("factor_analysis is slower than usual"), "{:?}", got[0].notes);
}

#[test]
fn a_run_that_has_not_started_opens_an_incident_and_ends_no_other() {
    let mut world = World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk();
    world.run(night(2), vec![factors()]);
    let inputs = FailureCluster { count: 1, skipped: 0, ..cause('c', "market_data_update", Vec::new()) };
    let summary = world.summary(night(3), vec![inputs]);
    let error = domain::record::RecordedError {
        category: ErrorCategory::Permanent,
        message: "market_data_update has no data".into(),
        chain: Vec::new(),
        fingerprint: summary.failures[0].fingerprint.clone(),
        masked: None,
    };
    let reason = AbandonReason::Inputs { error };
    let abandoned = RunSummary {
        status: RunStatus::Failed,
        abandoned: Some(Abandoned { at: night(3), reason }),
        portfolios_expected: 0,
        portfolios_processed: 0,
        total_jobs: 0,
        successful_jobs: 0,
        failed_jobs: 0,
        skipped_jobs: 0,
        job_summary: Vec::new(),
        ..summary
    };
    world.record(&abandoned, &[]);
    world.tell(&abandoned);
    let got = world.got(0);
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Update], "{got:#?}");
    assert!(got[1].recovered.is_empty(), "nothing ran, so nothing is known to be well again");
    let advice = got[1].rerun.as_deref().unwrap();
    assert!(advice.contains("--book /srv/book") && advice.contains("2026-11-03"), "{advice}");
    assert_schema(&got[1]);
    world.run(night(4), vec![]);
    assert_eq!(world.got(0)[2].recovered.len(), 2, "a run of all portfolios ends both");
}
