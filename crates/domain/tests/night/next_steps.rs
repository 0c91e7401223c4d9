//! The advice for each kind of night.

use domain::night::headline::Headline;
use domain::night::next_step::{CommandTarget, NextStep, next_step};
use domain::night::report::NightReport;
use domain::night::{Control, Level, Night, NightRun, NightRunState};
use domain::words::ErrorCategory;

use crate::night_samples::*;

fn folder() -> CommandTarget {
    CommandTarget::Folder { book: Some("/srv/our book".into()), data: "/srv/Bob's data".into() }
}

fn advice(night: &Night) -> NextStep {
    next_step(night, &[], &folder())
}

#[test]
fn six_missed_nights_are_one_command() {
    let dates: Vec<_> =
        ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-23"].map(date).into_iter().collect();
    let newest = night(&[missed(1)]);
    let step = next_step(&newest, &dates, &folder());
    assert_eq!(step.text, "Run the 6 missed nights:");
    assert_eq!(
        step.command.unwrap(),
        r"nightbook run --book '/srv/our book' --data '/srv/Bob'\''s data' --from 2026-11-17 --to 2026-11-24"
    );
    let headline = Headline::of(&newest, &dates, &folder());
    assert_eq!(headline.portfolios, "No run took place for 6 trading dates from 2026-11-17 to 2026-11-24.");
    let good = night(&[full(1, all(&ids(2), |_| good()))]);
    assert_eq!(next_step(&good, &dates, &folder()).text, "Run the 5 missed nights:");
    let one = next_step(&newest, &[], &folder());
    assert_eq!(one.text, "Run the missed night:");
    assert!(one.command.unwrap().ends_with(" --as-of 2026-11-24"));
}

#[test]
fn an_outage_is_rerun_by_its_cause_in_the_run_that_holds_it() {
    let all_ids = ids(4);
    let outage = |id: &_| failed_at_once(id, ErrorCategory::Transient, "the price source timed out");
    let runs = [
        full(1, all(&all_ids, outage)),
        filtered(2, &all_ids, all(&all_ids[..3], outage)),
        filtered(3, &all_ids, all(&all_ids[..1], |_| good())),
    ];
    let night = night(&runs);
    let cause = night.causes[0].cause.clone();
    let step = advice(&night);
    assert_eq!(step.text, "Rerun the 3 portfolios with this cause:");
    let command = format!(r"nightbook rerun {} --cause {cause} --data '/srv/Bob'\''s data'", run_id(2));
    assert_eq!(step.command.unwrap(), command);
}

#[test]
fn an_outage_beside_a_wrong_row_is_run_with_it() {
    let all_ids = ids(4);
    let mut portfolios = all(&all_ids[2..], |_| good());
    portfolios.insert(all_ids[0].clone(), failed_at_once(&all_ids[0], ErrorCategory::Timeout, "it took 300 s"));
    portfolios.insert(all_ids[1].clone(), without_equity(&all_ids[1]));
    let step = advice(&night(&[full(1, portfolios)]));
    assert_eq!(step.text, "Fix portfolios.csv, then run:");
    assert!(step.command.unwrap().ends_with(" --as-of 2026-11-24 --portfolio p01 --portfolio p02"));
}

#[test]
fn an_absent_portfolio_is_restored_or_closed_and_all_are_run() {
    let all_ids = ids(3);
    let mut run = full(1, all(&all_ids[1..], |_| good()));
    run.plan.as_mut().unwrap().expected_before = all_ids.iter().cloned().collect();
    let step = advice(&night(&[run]));
    assert_eq!(step.text, "Add p01 to portfolios.csv again or declare it closed (closed_on), then run:");
    assert!(step.command.unwrap().ends_with(" --as-of 2026-11-24"));
}

#[test]
fn stale_prices_name_their_symbols() {
    let mut run = full(1, all(&ids(2), |_| good()));
    for symbol in ["AAA", "BBB", "CCC", "DDD"] {
        let mut stale = control(Control::Freshness, Level::Failure, None);
        stale.symbol = Some(symbol.into());
        run.controls.push(stale);
    }
    let step = advice(&night(&[run]));
    assert_eq!(step.text, "Add the closes of 2026-11-24 for AAA, BBB, CCC and 1 more, then run:");
}

#[test]
fn a_run_that_is_open_is_waited_for() {
    let all_ids = ids(2);
    let open = NightRun { state: NightRunState::Open, ..full(2, all(&all_ids, |_| lost())) };
    let step = advice(&night(&[full(1, all(&all_ids, without_equity)), open]));
    let text = "Wait until run 00000000 has ended. If it was interrupted, `nightbook serve` continues it.";
    assert_eq!((step.text.as_str(), step.command), (text, None));
}

#[test]
fn an_interrupted_run_by_hand_is_continued_by_the_command_that_started_it() {
    let all_ids = ids(2);
    let open = |run: NightRun| NightRun { state: NightRunState::Open, ..run };
    let continued = |run: NightRun| advice(&night(&[open(run)]));
    let by_hand = |trigger: &str| NightRun { trigger: trigger.into(), ..full(2, all(&all_ids, |_| lost())) };

    let step = continued(by_hand("manual"));
    assert_eq!(step.text, "Wait until run 00000000 has ended. If it was interrupted, continue it:");
    let whole = step.command.unwrap();
    assert!(whole.starts_with("nightbook run --book ") && whole.ends_with(" --as-of 2026-11-24"), "{whole}");
    let named = continued(by_hand("month end")).command.unwrap();
    assert!(named.ends_with(" --as-of 2026-11-24 --trigger 'month end'"), "{named}");
    let some = filtered(2, &all_ids, all(&all_ids[..1], |_| lost()));
    let some = NightRun { trigger: "manual".into(), ..some };
    let filtered = continued(some.clone()).command.unwrap();
    assert!(filtered.ends_with(" --as-of 2026-11-24 --portfolio p01"), "{filtered}");
    let rerun = NightRun { trigger: "rerun".into(), rerun_of: Some(run_id(1)), ..some.clone() };
    let command = continued(rerun.clone()).command.unwrap();
    assert!(command.starts_with(&format!("nightbook rerun {} --data ", run_id(2))), "{command}");

    let redacted = |run: NightRun| next_step(&night(&[open(run)]), &[], &CommandTarget::Redacted).command;
    assert_eq!(redacted(some), None, "a portfolio would be named");
    assert_eq!(redacted(by_hand("month end")), None, "the trigger would be named");
    assert_eq!(redacted(by_hand("manual")).unwrap(), "nightbook run --book BOOK --data DATA --as-of 2026-11-24");
    let table = CommandTarget::Table { book: None, table: "nights".into() };
    let step = next_step(&night(&[open(by_hand("api"))]), &[], &table);
    assert_eq!((step.text.as_str(), step.command), ("Wait until run 00000000 has ended.", None));
}

#[test]
fn a_result_of_another_control_is_looked_into() {
    let mut run = full(1, all(&ids(2), |_| good()));
    run.controls.push(control(Control::PriceJump, Level::Warning, Some(&id("p01"))));
    run.controls.push(control(Control::PriceJump, Level::Warning, Some(&id("p02"))));
    let step = advice(&night(&[run]));
    assert_eq!(
        step.text,
        "Check the 2 results of control price_jump; correct the input, or accept them, with your reason for TEXT:"
    );
    let command = step.command.unwrap();
    assert!(command.starts_with("nightbook accept 2026-11-24 --control price_jump --note TEXT --data "), "{command}");
}

#[test]
fn after_filtered_runs_alone_the_whole_night_is_run_and_no_portfolio_is_restored() {
    let open = ids(3);
    let step = advice(&night(&[filtered(1, &open, all(&open[..1], |_| good()))]));
    assert_eq!(step.text, "No run of all portfolios has ended; run the night:");
    assert!(step.command.unwrap().ends_with(" --as-of 2026-11-24"));
}

#[test]
fn a_plan_given_up_for_an_outage_is_run_again_as_a_whole() {
    let step = advice(&night(&[abandoned(1, ErrorCategory::Transient, "the bucket cannot be reached")]));
    assert_eq!(step.text, "Run the night again:");
    assert!(step.command.unwrap().ends_with(" --as-of 2026-11-24"));
}

#[test]
fn a_table_is_named_as_the_data() {
    let target = CommandTarget::Table { book: None, table: "nightbook".into() };
    let step = next_step(&night(&[missed(1)]), &[], &target);
    assert_eq!(step.command.unwrap(), "nightbook run --book BOOK --data dynamodb://nightbook --as-of 2026-11-24");
}

#[test]
fn a_redacted_page_shows_placeholders_and_no_details() {
    let all_ids = ids(4);
    let mut run = full(1, all(&all_ids[1..], without_equity));
    run.plan.as_mut().unwrap().expected_before = all_ids.iter().cloned().collect();
    let mut stale = control(Control::Freshness, Level::Failure, None);
    stale.symbol = Some("SECRET".into());
    stale.message = "SECRET has no close".into();
    run.controls.push(stale);
    let report = NightReport::of(&night(&[run]), &series(), None, &[], &CommandTarget::Redacted);
    let said = format!("{} {} {:?}", report.headline, report.next_step.text, report.next_step.command);
    for detail in ["p01", "p02", "SECRET", "equity", "portfolio p", "/srv"] {
        assert!(!said.contains(detail), "{detail} is shown: {said}");
    }
    let command = "nightbook run --book BOOK --data DATA --as-of 2026-11-24";
    assert_eq!(report.next_step.command.as_deref(), Some(command));
}

#[test]
fn a_report_has_the_keys_of_the_contract() {
    let night = night(&[full(1, all(&ids(2), |_| good()))]);
    let report = NightReport::of(&night, &series(), None, &[], &folder());
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut pinned = [
        "schedule",
        "night_series",
        "as_of",
        "verdict",
        "headline",
        "next_step",
        "expected_portfolios",
        "absent",
        "totals",
        "controls",
        "causes",
        "editions",
        "runs",
        "in_progress",
        "newest_close",
        "due_at",
    ];
    let mut keys = keys;
    keys.sort_unstable();
    pinned.sort_unstable();
    assert_eq!(keys, pinned);
    assert_eq!(json["totals"]["total_jobs"], 18);
    assert_eq!(json["next_step"], serde_json::json!({"text": "No action is needed.", "command": null}));
    assert_eq!(serde_json::from_value::<NightReport>(json).unwrap(), report);
}
