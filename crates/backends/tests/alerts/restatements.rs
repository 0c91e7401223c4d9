//! The message about a run that changed recorded figures: one for each such run, by the rules of all messages.

use super::*;

fn world() -> World {
    World::new(AlertRules { digest: Some(false), ..AlertRules::default() }).with_desk()
}

/// A run of this date that records this P&L for these portfolios (none: all), so many hours later.
fn run_with(world: &mut World, day: u32, pnl: f64, hours: i64, filter: &[PortfolioId]) -> RunSummary {
    world.pnl = Some(pnl);
    let mut summary = world.summary(night(day), Vec::new());
    summary.started_at = night(day) + TimeDelta::hours(hours);
    summary.closed_at = Some(summary.started_at + TimeDelta::minutes(5));
    world.record(&summary, filter);
    world.tell(&summary);
    summary
}

#[test]
fn a_run_that_makes_an_edition_sends_one_message() {
    let mut world = world();
    run_with(&mut world, 2, -6_869.12, 0, &[]);
    assert_eq!(world.kinds(0), []);
    let again = run_with(&mut world, 2, -97_887.4, 2, &portfolios(0..7));
    world.tell(&again);
    run_with(&mut world, 2, -97_887.4, 3, &portfolios(0..7));
    assert_eq!(world.kinds(0), [AlertKind::Restatement], "the same figures again are no edition");
    let message = &world.got(0)[0];
    assert_schema(message);
    assert_eq!((message.batch_run_id, message.severity), (again.batch_run_id, Severity::Info));
    assert_eq!(message.edition, Some(2));
    assert_eq!(message.portfolios_affected, 7);
    assert_eq!(message.page, "https://night.example/nights/2026-11-02/index.html");
    insta::assert_snapshot!(format!("Subject: {}\n\n{}", message.title, message.text()));
}

#[test]
fn a_run_that_mends_and_restates_sends_both_messages() {
    let mut world = world();
    world.pnl = Some(1.0);
    world.run(night(2), vec![stress()]);
    run_with(&mut world, 2, 2.0, 2, &[]);
    use AlertKind::{Open, Recovery, Restatement};
    assert_eq!(world.kinds(0), [Open, Recovery, Restatement]);
    let keys: Vec<String> = world.got(0).into_iter().map(|message| message.dedup_key).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2], "a restatement opens nothing that somebody has to close");
    let ids: BTreeSet<String> = world.got(0).into_iter().map(|message| message.alert_id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_restated_date_of_the_past_is_reported_too() {
    let mut world = world();
    run_with(&mut world, 2, 1.0, 0, &[]);
    run_with(&mut world, 5, 1.0, 0, &[]);
    run_with(&mut world, 2, 3.0, 100, &[]);
    assert_eq!(world.kinds(0), [AlertKind::Restatement]);
    assert_eq!(world.got(0)[0].as_of, night(2).date_naive());
}

#[test]
fn mutes_hold_for_restatements() {
    let mute = |fingerprint: Option<&str>, portfolio: Option<&str>| Mute {
        fingerprint: fingerprint.map(|text| CauseId::new(text).unwrap()),
        portfolio: portfolio.map(|id| PortfolioId::new(id).unwrap()),
        until: night(20),
        reason: "the vendor corrects last month".into(),
    };
    for mutes in [vec![mute(Some("restatement"), None)], vec![mute(None, Some("p00")), mute(None, Some("p01"))]] {
        let mut world = world();
        world.rules.mutes = mutes;
        run_with(&mut world, 2, 1.0, 0, &[]);
        run_with(&mut world, 2, 2.0, 2, &portfolios(0..2));
        assert_eq!(world.kinds(0), []);
    }
    let mut world = world();
    world.rules.mutes = vec![mute(None, Some("p00"))];
    run_with(&mut world, 2, 1.0, 0, &[]);
    run_with(&mut world, 2, 2.0, 2, &portfolios(0..2));
    assert_eq!(world.kinds(0), [AlertKind::Restatement], "p01 is not muted");
}

#[test]
fn quiet_hours_and_the_least_severity_hold_for_restatements() {
    let quiet = QuietHours {
        from: NaiveTime::from_hms_opt(22, 0, 0).unwrap(),
        to: NaiveTime::from_hms_opt(7, 0, 0).unwrap(),
        timezone: Zone::UTC,
    };
    let mut world = World::new(AlertRules { digest: Some(false), quiet_hours: Some(quiet), ..AlertRules::default() })
        .with_desk()
        .with("pager", Severity::Warning, Box::new(|_| Ok(())));
    run_with(&mut world, 2, 1.0, 0, &[]);
    run_with(&mut world, 2, 2.0, 1, &[]);
    assert_eq!(world.kinds(0), [], "it is half past midnight");
    world.watch_until(night(3) - TimeDelta::hours(16));
    assert_eq!(world.kinds(0), [AlertKind::Restatement]);
    assert_eq!(world.kinds(1), []);
}
