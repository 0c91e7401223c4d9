//! How incidents end: every channel that had the opening message hears of it, whatever ended them.

use super::*;

fn quiet() -> AlertRules {
    AlertRules { digest: Some(false), ..AlertRules::default() }
}

fn world() -> World {
    World::new(quiet()).with_desk().with("pager", Severity::Critical, Box::new(|_| Ok(())))
}

pub(crate) fn failed_control(control: Control, portfolio: Option<&str>) -> ControlResult {
    ControlResult {
        control,
        level: Level::Failure,
        portfolio_id: portfolio.map(|id| PortfolioId::new(id).unwrap()),
        symbol: None,
        figure: None,
        sessions: None,
        observed: None,
        limit: None,
        message: format!("{control} failed"),
    }
}

fn everything() -> FailureCluster {
    cause('a', "factor_analysis", portfolios(0..20))
}

fn book_of(world: &World) -> domain::alert_book::AlertBook {
    block_on(world.store.alert_book(&schedule())).unwrap()
}

#[test]
fn a_recovery_reaches_every_channel_that_had_a_message() {
    let mut world = world();
    world.run(night(2), vec![everything()]);
    assert_eq!(world.kinds(1), [AlertKind::Open], "the whole night failed, which is critical");
    world.run(night(3), vec![]);
    assert_eq!(world.kinds(1), [AlertKind::Open, AlertKind::Recovery]);
    assert_eq!(world.got(1)[0].dedup_key, world.got(1)[1].dedup_key);
    // What the pager never heard of does not reach it when it is over.
    world.run(night(4), vec![factors()]);
    world.run(night(5), vec![]);
    assert_eq!(world.kinds(1).len(), 2, "{:#?}", world.got(1));
    assert_eq!(book_of(&world).told_channels, BTreeSet::new());
}

#[test]
fn a_channel_that_came_in_with_a_worse_night_hears_the_recovery_too() {
    let mut world = world();
    world.run(night(2), vec![factors()]);
    assert_eq!(world.kinds(1), [], "partial is no case for the pager");
    world.run(night(3), vec![factors(), cause('b', "stress_testing", portfolios(0..20))]);
    world.run(night(4), vec![factors()]);
    world.run(night(5), vec![]);
    use AlertKind::{PartialRecovery, Recovery, Update};
    assert_eq!(world.kinds(1), [Update, PartialRecovery, Recovery]);
}

#[test]
fn a_book_of_an_earlier_release_knows_the_channels_from_its_outbox() {
    let mut world = world();
    world.run(night(2), vec![everything()]);
    let mut book = book_of(&world);
    book.told_channels.clear();
    assert!(block_on(world.store.put_alert_book(&book)).unwrap());
    world.run(night(3), vec![]);
    assert_eq!(world.kinds(1), [AlertKind::Open, AlertKind::Recovery]);
}

#[test]
fn an_accepted_control_recovers_at_once_and_says_who_accepted_it() {
    let mut world = world();
    world.controls = vec![failed_control(Control::NewestClose, None)];
    world.run(night(2), vec![]);
    assert_eq!(world.kinds(0), [AlertKind::Control]);
    world.at(night(3));
    world.accept(night(2).date_naive(), Control::NewestClose, None);
    assert_eq!(world.kinds(0), [AlertKind::Control, AlertKind::Recovery]);
    let [opened, over] = <[AlertMessage; 2]>::try_from(world.got(0)).unwrap();
    assert_schema(&over);
    assert_eq!(over.dedup_key, opened.dedup_key);
    assert_eq!(over.recovered[0].because.as_deref(), Some("accepted by ann: the vendor confirmed it"));
    assert!(over.title.contains("accepted by ann") && over.text().contains("accepted by ann"), "{}", over.title);
    assert_eq!(over.night_verdict, Some(domain::night::Verdict::Ok));
    // Neither the next look nor the next night says it again.
    world.watch_until(night(3) + TimeDelta::minutes(3));
    world.controls.clear();
    world.run(night(4), vec![]);
    assert_eq!(world.kinds(0).len(), 2);
    assert!(book_of(&world).incidents.is_empty());
}

#[test]
fn a_control_is_open_until_each_of_its_results_is_accepted() {
    let mut world = world();
    world.controls = vec![failed_control(Control::Equity, Some("p01")), failed_control(Control::Equity, Some("p02"))];
    world.run(night(2), vec![factors()]);
    world.at(night(3));
    let p = |id: &str| Some(PortfolioId::new(id).unwrap());
    world.accept(night(2).date_naive(), Control::Equity, p("p01"));
    assert_eq!(world.kinds(0), [AlertKind::Open]);
    world.at(night(3) + TimeDelta::minutes(1));
    world.accept(night(2).date_naive(), Control::Equity, p("p02"));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::PartialRecovery], "the jobs still failed");
    let partly = &world.got(0)[1];
    assert_eq!(partly.recovered.len(), 1);
    assert!(partly.title.contains("1 over, 1 left"), "{}", partly.title);
}

#[test]
fn an_acceptance_of_an_older_night_ends_nothing_that_the_newest_has() {
    let mut world = world();
    world.controls = vec![failed_control(Control::NewestClose, None)];
    world.run(night(2), vec![]);
    world.run(night(3), vec![]);
    world.at(night(4));
    world.accept(night(2).date_naive(), Control::NewestClose, None);
    assert_eq!(world.kinds(0), [AlertKind::Control, AlertKind::Reminder]);
    world.accept(night(3).date_naive(), Control::NewestClose, None);
    assert_eq!(world.kinds(0)[2..], [AlertKind::Recovery]);
}

#[test]
fn an_acceptance_ends_only_the_incidents_whose_newest_night_it_is_of() {
    let mut world = world();
    world.controls = vec![failed_control(Control::NewestClose, None), failed_control(Control::Equity, Some("p01"))];
    world.run(night(2), vec![]);
    // Without results of p01, its control says nothing on the next night.
    world.controls = vec![failed_control(Control::NewestClose, None)];
    world.run(night(3), vec![cause('a', "factor_analysis", portfolios(1..2))]);
    world.at(night(4));
    world.accept(night(2).date_naive(), Control::NewestClose, None);
    world.accept(night(2).date_naive(), Control::Equity, None);
    let over = world.got(0).pop().unwrap();
    assert_eq!(over.kind, AlertKind::PartialRecovery);
    let causes: Vec<&CauseId> = over.recovered.iter().map(|line| &line.fingerprint).collect();
    assert_eq!(causes, [&CauseId::of_control(Control::Equity)]);
    assert!(book_of(&world).incidents.contains_key(&CauseId::of_control(Control::NewestClose)));
}

#[test]
fn an_acceptance_during_a_mute_is_reported_after_it() {
    let mut world = world();
    world.controls = vec![failed_control(Control::NewestClose, None)];
    world.run(night(2), vec![]);
    let fingerprint = Some(CauseId::of_control(Control::NewestClose));
    world.rules.mutes = vec![Mute { fingerprint, portfolio: None, until: night(4), reason: "known".into() }];
    world.at(night(3));
    world.accept(night(2).date_naive(), Control::NewestClose, None);
    assert_eq!(world.kinds(0), [AlertKind::Control]);
    world.controls.clear();
    world.run(night(5), vec![]);
    assert_eq!(world.kinds(0), [AlertKind::Control, AlertKind::Recovery]);
    assert!(world.got(0)[1].recovered[0].because.as_deref().unwrap().contains("accepted by ann"));
}

#[test]
fn a_cause_whose_portfolios_are_all_declared_closed_recovers_and_says_so() {
    let mut world = world();
    world.run(night(2), vec![stress()]);
    let closed = NaiveDate::from_ymd_opt(2026, 11, 3).unwrap();
    world.closures = portfolios(6..7).into_iter().map(|id| (id, closed)).collect();
    world.run(night(3), vec![cause('b', "stress_testing", portfolios(7..8))]);
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Reminder], "one of them is left");
    world.closures = portfolios(6..8).into_iter().map(|id| (id, closed)).collect();
    world.run(night(4), vec![]);
    let over = world.got(0).pop().unwrap();
    assert_eq!((over.kind, &over.dedup_key), (AlertKind::Recovery, &world.got(0)[0].dedup_key));
    assert_eq!(over.recovered[0].closed, portfolios(6..8));
    assert!(over.title.contains("declared closed: p06, p07"), "{}", over.title);
    assert!(over.text().contains("declared closed: p06, p07"), "{}", over.text());
}

#[test]
fn incidents_of_a_schedule_that_is_not_configured_any_more_are_closed() {
    let mut world = world();
    world.run(night(2), vec![everything()]);
    world.configured = Some(ScheduleName::new("evening").unwrap());
    world.watch_until(night(2) + TimeDelta::hours(1));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Recovery]);
    assert_eq!(world.kinds(1), [AlertKind::Open, AlertKind::Recovery], "a pager must not keep it open");
    let [opened, closed] = <[AlertMessage; 2]>::try_from(world.got(0)).unwrap();
    assert_schema(&closed);
    assert_eq!((closed.dedup_key, closed.schedule.as_str()), (opened.dedup_key, "nightly"));
    assert_eq!(closed.title, "nightly: 1 incident closed, not recovered: the schedule nightly is no longer configured");
    assert_eq!(closed.status, RunStatus::Failed, "the night is as it was");
    assert!(book_of(&world).incidents.is_empty() && book_of(&world).open_key.is_none());
}

#[test]
fn settings_that_are_not_known_close_nothing() {
    let mut world = world();
    world.run(night(2), vec![everything()]);
    world.configured = None;
    world.watch_until(night(2) + TimeDelta::hours(1));
    assert_eq!(world.kinds(0), [AlertKind::Open]);
}

#[test]
fn a_muted_incident_of_a_schedule_that_is_gone_is_closed_after_its_mute() {
    let mut world = world();
    world.run(night(2), vec![everything(), cause('b', "stress_testing", portfolios(0..2))]);
    let fingerprint = Some(CauseId::from(&everything().fingerprint));
    let until = night(2) + TimeDelta::hours(2);
    world.rules.mutes = vec![Mute { fingerprint, portfolio: None, until, reason: "known".into() }];
    world.configured = Some(ScheduleName::new("evening").unwrap());
    world.watch_until(night(2) + TimeDelta::hours(1));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::PartialRecovery]);
    world.watch_until(night(2) + TimeDelta::hours(3));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::PartialRecovery, AlertKind::Recovery]);
    assert_eq!(world.got(0).iter().map(|message| &message.dedup_key).collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn one_message_names_what_is_new_and_what_is_over_each_with_its_own_duration() {
    let mut world = World::new(quiet()).with_desk();
    for day in 2..5 {
        world.run(night(day), vec![factors()]);
    }
    world.run(night(5), vec![factors(), stress()]);
    world.run(night(6), vec![cause('c', "market_data_update", portfolios(10..11))]);
    let update = world.got(0).pop().unwrap();
    assert_eq!(update.kind, AlertKind::Update);
    assert!(update.title.contains("1 new cause: market_data_update"), "{}", update.title);
    assert!(
        update.title.contains("over: factor_analysis (since 2026-11-02, 4 nights) and 1 more cause"),
        "{}",
        update.title
    );
    let lasted: Vec<(u32, u32, i64)> =
        update.recovered.iter().map(|line| (line.since.day(), line.runs, line.lasted_seconds / 86_400)).collect();
    assert_eq!(lasted, [(2, 4, 4), (5, 1, 1)], "each has its own dates");
    assert!(update.text().contains("stress_testing [") && update.text().contains("since 2026-11-05, 1 night"));
}
