//! Receivers that fail, and senders that die.

use super::*;

/// The receiver fails for an hour: it is asked with growing pauses, gets everything in its order, once, and nobody else
/// gets anything twice.
#[test]
fn a_receiver_that_fails_for_an_hour_misses_nothing() {
    let end = night(2) + TimeDelta::minutes(70);
    let mut world = World::new(AlertRules::default())
        .with(
            "desk",
            Severity::Info,
            Box::new(move |now| if now < end { Err(fail("the desk is closed")) } else { Ok(()) }),
        )
        .with("other", Severity::Info, Box::new(|_| Ok(())));
    world.run(night(2), vec![factors()]);
    let shown = block_on(world.store.alert_book(&schedule())).unwrap().undelivered(world.clock.now());
    assert_eq!((shown.len(), shown[0].waiting, shown[0].given_up), (1, 1, 0));
    assert_eq!((shown[0].channel.as_str(), shown[0].error.as_str()), ("desk", "the desk is closed"));
    world.watch_until(night(2) + TimeDelta::minutes(50));
    world.run(night(2) + TimeDelta::minutes(40), vec![]);
    world.watch_until(night(2) + TimeDelta::hours(4));
    assert_eq!(world.kinds(0), [AlertKind::Open, AlertKind::Recovery]);
    assert_eq!(world.kinds(1), [AlertKind::Open, AlertKind::Recovery]);
    let tries: Vec<i64> = world.receivers[0]
        .tries
        .lock()
        .unwrap()
        .iter()
        .filter(|(_, message)| message.kind == AlertKind::Open)
        .map(|(at, _)| (*at - night(2)).num_minutes())
        .collect();
    assert_eq!(tries, [10, 11, 13, 17, 25, 40, 55, 70], "the pauses double, up to a quarter of an hour");
    let attempts: Vec<u32> = world.got(0).iter().map(|message| message.attempt).collect();
    assert_eq!(attempts, [8, 1]);
    let book = block_on(world.store.alert_book(&schedule())).unwrap();
    assert_eq!(book.undelivered(world.clock.now()), [], "nothing is left to show");
}

#[test]
fn a_receiver_may_say_when_to_come_back_and_what_it_never_takes() {
    let later = ChannelError { retry_after: Some(Duration::from_secs(30 * 60)), ..fail("busy") };
    let open = night(2) + TimeDelta::minutes(11);
    let mut world = World::new(AlertRules::default())
        .with("busy", Severity::Info, Box::new(move |now| if now < open { Err(later.clone()) } else { Ok(()) }))
        .with("picky", Severity::Info, Box::new(|_| Err(ChannelError { is_final: true, ..fail("no such thing") })));
    world.run(night(2), vec![factors()]);
    world.watch_until(night(2) + TimeDelta::hours(2));
    let tries = |receiver: usize| -> Vec<i64> {
        let tries = world.receivers[receiver].tries.lock().unwrap();
        tries.iter().map(|(at, _)| (*at - night(2)).num_minutes()).collect()
    };
    assert_eq!(tries(0), [10, 40]);
    assert_eq!(tries(1), [10]);
    let shown = block_on(world.store.alert_book(&schedule())).unwrap().undelivered(world.clock.now());
    assert_eq!((shown.len(), shown[0].waiting, shown[0].given_up), (1, 0, 1));
    // It is shown for a week.
    let book = block_on(world.store.alert_book(&schedule())).unwrap();
    assert_eq!(book.undelivered(night(2) + TimeDelta::days(8)), []);
}

/// A sender dies while it delivers to the first receiver.
fn died_delivering(world: &mut World) -> RunSummary {
    let summary = world.summary(night(2), vec![factors()]);
    world.record(&summary, &[]);
    world.at(summary.closed_at.unwrap());
    // It reaches the receiver, and whoever sent it is never heard of again.
    struct Dies(Arc<Receiver>);
    #[async_trait]
    impl AlertChannel for Dies {
        fn name(&self) -> &ChannelName {
            &self.0.name
        }
        fn min_severity(&self) -> Severity {
            Severity::Info
        }
        async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
            self.0.deliver(message).await?;
            futures::future::pending().await
        }
    }
    let alerting = Alerting { channels: vec![Arc::new(Dies(Arc::clone(&world.receivers[0])))], ..world.alerting() };
    let of = world.night(summary.as_of);
    let mut telling = Box::pin(alerting.tell(&summary, &of));
    assert!(futures::FutureExt::now_or_never(&mut telling).is_none());
    drop(telling);
    assert_eq!(world.got(0).len(), 1);
    summary
}

/// What becomes of it, as long as nobody knows of the death.
fn after_a_death(delivery: DeliveryMode) -> World {
    let mut world = World::new(AlertRules { delivery, ..AlertRules::default() }).with_desk();
    let summary = died_delivering(&mut world);
    world.tell(&summary);
    world.watch_until(night(2) + TimeDelta::minutes(30));
    world
}

#[test]
fn a_sender_that_dies_is_followed_by_another_with_the_same_id() {
    let world = after_a_death(DeliveryMode::AtLeastOnce);
    let got = world.got(0);
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].alert_id, got[1].alert_id);
    assert_eq!([got[0].attempt, got[1].attempt], [1, 2]);
}

/// A new process knows that whoever had a message in hand is dead, and that channels may be mended.
#[test]
fn a_new_process_takes_over_at_once() {
    for (delivery, tries) in [(DeliveryMode::AtLeastOnce, 2), (DeliveryMode::AtMostOnce, 1)] {
        let mut world = World::new(AlertRules { delivery, ..AlertRules::default() }).with_desk();
        let summary = died_delivering(&mut world);
        block_on(world.alerting().catch_up()).unwrap();
        assert_eq!(world.got(0).len(), 1, "it is in hand still, for all that anybody knows");
        block_on(take_over(&world.store, delivery, world.clock.now())).unwrap();
        block_on(world.alerting().catch_up()).unwrap();
        world.tell(&summary);
        assert_eq!(world.got(0).len(), tries, "{delivery:?}");
    }
    let mut world = World::new(AlertRules::default()).with("desk", Severity::Info, Box::new(|_| Err(fail("closed"))));
    world.run(night(2), vec![factors()]);
    block_on(world.alerting().catch_up()).unwrap();
    assert_eq!(world.receivers[0].tries.lock().unwrap().len(), 1);
    block_on(take_over(&world.store, DeliveryMode::AtLeastOnce, world.clock.now())).unwrap();
    block_on(world.alerting().catch_up()).unwrap();
    assert_eq!(world.receivers[0].tries.lock().unwrap().len(), 2);
}

#[test]
fn at_most_once_is_never_twice() {
    let world = after_a_death(DeliveryMode::AtMostOnce);
    assert_eq!(world.got(0).len(), 1);
    let shown = block_on(world.store.alert_book(&schedule())).unwrap().undelivered(world.clock.now());
    assert_eq!(shown[0].given_up, 1, "nobody knows whether it arrived, and the site says so");

    let rules = AlertRules { delivery: DeliveryMode::AtMostOnce, ..AlertRules::default() };
    let mut world = World::new(rules).with("desk", Severity::Info, Box::new(|_| Err(fail("closed"))));
    world.run(night(2), vec![factors()]);
    world.watch_until(night(3));
    assert_eq!(world.receivers[0].tries.lock().unwrap().len(), 1);
}

#[test]
fn quiet_hours_put_off_what_is_not_critical() {
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    let quiet_hours = Some(QuietHours { from: time(22), to: time(7), timezone: Zone::UTC });
    let mut world = World::new(AlertRules { quiet_hours, ..AlertRules::default() }).with_desk();
    world.run(night(2), vec![factors()]);
    assert_eq!(world.got(0), []);
    let mut failed =
        world.summary(night(2) + TimeDelta::minutes(20), vec![cause('b', "stress_testing", portfolios(0..20))]);
    failed.status = RunStatus::Failed;
    world.record(&failed, &[]);
    world.tell(&failed);
    assert_eq!(world.kinds(0).len(), 1, "what is critical is told at once");
    world.watch_until(night(3));
    let got = world.got(0);
    assert_eq!(got.len(), 2, "what was put off is told in the end");
    let tries = world.receivers[0].tries.lock().unwrap();
    assert_eq!(tries[1].0.time(), time(7));
}
