//! The slots that nobody started in their time: which are started late, which are recorded as missed.

use super::*;

#[tokio::test]
async fn the_watch_starts_a_slot_that_nobody_started_and_records_it_as_missed_when_that_does_not_help() {
    let place = Cloud::new();
    assert_eq!(place.watcher().sweep().await.unwrap(), functions::watch::Swept::default(), "nothing is known yet");
    place.closed_run().await;
    place.after(TimeDelta::days(1) + TimeDelta::minutes(59));
    assert_eq!(place.watcher().sweep().await.unwrap().late, 0, "within its grace");
    place.after(TimeDelta::minutes(2));
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!((swept.late, swept.missed.len()), (1, 0));
    let calls = std::mem::take(&mut *place.shared.calls.lock().unwrap());
    assert_eq!(calls, [json!({ "schedule": "nightly", "scheduled_time": "2026-07-01T22:30:00Z" })]);
    place.after(TimeDelta::minutes(15));
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!((swept.late, swept.missed.len()), (1, 1));
    assert_eq!(place.run(swept.missed[0]).await.phase, RunPhase::Missed);
    assert_eq!(place.watcher().sweep().await.unwrap().late, 1, "what kept it from being started may be mended");
    assert!(matches!(place.closer().close(swept.missed[0]).await.unwrap(), Outcome::Delivered(_)));
    assert!(place.shared.told.lock().unwrap().iter().any(|message| message.status == RunStatus::Missed));
    // The call that came late all the same makes up for it.
    let said = place.start(calls[0].clone()).await.unwrap();
    assert_eq!(said["outcome"], "sealed");
}

#[tokio::test]
async fn slots_that_were_recorded_as_missed_are_tried_again_for_a_day() {
    let place = Cloud::new();
    place.closed_run().await;
    place.after(TimeDelta::days(6) + TimeDelta::minutes(61));
    assert_eq!(place.watcher().sweep().await.unwrap().missed.len(), 2);
    place.take_calls();
    place.after(TimeDelta::hours(1));
    assert_eq!(place.watcher().sweep().await.unwrap().missed.len(), 1, "the newest is given up too");
    assert_eq!(dates_of(&place.take_calls()), ["2026-07-06", "2026-07-01", "2026-07-02"], "no start has come of them");
    place.after(TimeDelta::minutes(5));
    place.watcher().sweep().await.unwrap();
    for call in place.take_calls() {
        assert_eq!(place.start(call).await.unwrap()["outcome"], "sealed");
    }
    assert_eq!(place.watcher().sweep().await.unwrap().late, 0, "all have their runs");

    let place = Cloud::new();
    place.closed_run().await;
    place.after(TimeDelta::days(6) + TimeDelta::minutes(61));
    assert_eq!(place.watcher().sweep().await.unwrap().missed.len(), 2);
    place.after(TimeDelta::hours(23));
    place.watcher().sweep().await.unwrap();
    place.take_calls();
    place.after(TimeDelta::minutes(65));
    place.watcher().sweep().await.unwrap();
    assert!(!dates_of(&place.take_calls()).contains(&"2026-07-01".to_owned()), "somebody has to look at it");
}

/// The slots that `start-run` was called for, by their dates.
fn dates_of(calls: &[Value]) -> Vec<String> {
    calls.iter().map(|call| call["scheduled_time"].as_str().unwrap()[..10].to_owned()).collect()
}

#[tokio::test]
async fn after_an_outage_the_watch_starts_the_newest_slot_first_and_records_the_others_as_missed_until_they_run() {
    let place = Cloud::new();
    place.closed_run().await;
    place.after(TimeDelta::days(6) + TimeDelta::minutes(61));
    let swept = place.watcher().sweep().await.unwrap();
    let calls = place.take_calls();
    assert_eq!(dates_of(&calls), ["2026-07-06", "2026-07-01", "2026-07-02"]);
    let mut missed = Vec::new();
    for id in &swept.missed {
        missed.push(place.run(*id).await.as_of.to_string());
    }
    assert_eq!(missed, ["2026-07-01", "2026-07-02"]);
    assert_eq!(place.take_closes(), [], "nobody is alerted while they are being run late");
    for call in &calls {
        assert_eq!(place.start(call.clone()).await.unwrap()["outcome"], "sealed");
    }
    assert_eq!(place.watcher().sweep().await.unwrap().late, 0);
}

#[tokio::test]
async fn the_watch_neither_starts_nor_misses_dates_that_were_run_by_hand() {
    let place = Cloud::new();
    place.closed_run().await;
    place.after(TimeDelta::days(3));
    for date in ["2026-07-01", "2026-07-02"] {
        let said = place.start(json!({ "as_of": date })).await.unwrap();
        assert_eq!(place.work_off(1).await, 0);
        place.closer().close(said["batch_run_id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    }
    place.after(TimeDelta::days(3) + TimeDelta::minutes(61));
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!((dates_of(&place.take_calls()), swept.missed), (vec!["2026-07-06".to_owned()], Vec::new()));
}

#[tokio::test]
async fn a_renamed_schedule_begins_when_its_name_is_in_force_and_one_with_its_series_goes_on() {
    for (series, expected) in
        [("", &["2026-07-06"][..]), ("series = \"nightly\"\n", &["2026-07-06", "2026-07-01", "2026-07-02"])]
    {
        let place = Cloud::new();
        place.closed_run().await;
        place.after(TimeDelta::days(3));
        let text = format!("[factors]\nMarket = \"SPY\"\n[schedule]\nname = \"evening\"\n{series}");
        place.shared.files.lock().unwrap().insert("nightbook.toml".into(), text.into_bytes());
        place.start(json!({ "as_of": "2026-06-30", "portfolios": ["growth"] })).await.unwrap();
        place.after(TimeDelta::days(3) + TimeDelta::minutes(61));
        place.watcher().sweep().await.unwrap();
        let mut calls = place.take_calls();
        calls.retain(|call| call["schedule"] == "evening");
        assert_eq!(dates_of(&calls), expected, "{series}");
    }
}

#[tokio::test]
async fn a_slot_that_the_watch_records_as_missed_has_the_planning_deadline_of_the_settings() {
    let place = Cloud::new();
    let text = "[factors]\nMarket = \"SPY\"\n[run]\ndeadline_minutes = 45\n[schedule]\ncatch_up = false\n";
    place.shared.files.lock().unwrap().insert("nightbook.toml".into(), text.into());
    place.closed_run().await;
    place.after(TimeDelta::days(1) + TimeDelta::minutes(61));
    let missed = place.watcher().sweep().await.unwrap().missed;
    let run = place.run(missed[0]).await;
    assert_eq!((run.planning_due_at() - run.started_at).num_minutes(), 45);
}

#[tokio::test]
async fn no_slot_from_before_the_records_is_ever_missed() {
    let place = Cloud::new();
    // The slot of a month ago, made up for by hand: those in between were never promised.
    place.start(json!({ "schedule": "nightly", "scheduled_time": "2026-05-29T22:30:00Z" })).await.unwrap();
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!((swept.late, swept.missed.len()), (0, 0));
    place.after(TimeDelta::days(1) + TimeDelta::minutes(61));
    assert_eq!(place.watcher().sweep().await.unwrap().late, 1);
}
