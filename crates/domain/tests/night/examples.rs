//! What was done, and what the night says of it.

use std::collections::BTreeMap;

use domain::ids::CauseId;
use domain::night::headline::Headline;
use domain::night::history::{CauseStanding, recovery, standing};
use domain::night::next_step::CommandTarget;
use domain::night::{Control, Level, Night, NightRun, NightRunState, PortfolioRun, Verdict};
use domain::words::{ErrorCategory, JobStatus};

use crate::night_samples::*;

const OUTAGE: &str = "the price source timed out";

fn bad(id: &domain::ids::PortfolioId) -> PortfolioRun {
    failed_at_once(id, ErrorCategory::Transient, OUTAGE)
}

fn headline(night: &Night) -> Headline {
    let target = CommandTarget::Folder { book: Some("/srv/book".into()), data: "/srv/data".into() };
    Headline::of(night, &[], &target)
}

#[test]
fn a_good_rerun_of_one_portfolio_does_not_make_a_night_good() {
    let all_ids = ids(40);
    let (ok, rest) = all_ids.split_at(2);
    let mut portfolios = all(rest, bad);
    portfolios.extend(all(ok, |_| good()));
    let runs = [full(1, portfolios), filtered(2, &all_ids, all(&ok[..1], |_| good()))];
    let night = night(&runs);
    assert_eq!(night.verdict, Verdict::Partial);
    assert_eq!(night.not_succeeded().count(), 38);
    assert_eq!(night.expected_portfolios(), 40);
    assert_eq!((night.totals.success, night.totals.failed, night.totals.skipped), (18, 38, 304));
    assert_eq!(headline(&night).portfolios, "38 of 40 portfolios have no results.");
}

#[test]
fn a_deleted_portfolio_is_absent_until_it_is_declared_closed() {
    let all_ids = ids(10);
    let mut run = full(1, all(&all_ids[1..], |_| good()));
    let plan = run.plan.as_mut().unwrap();
    plan.expected_before = all_ids.iter().cloned().collect();
    let absent = night(std::slice::from_ref(&run));
    assert_eq!(absent.verdict, Verdict::Partial);
    assert_eq!(absent.absent, [id("p01")].into());
    assert_eq!((absent.totals.missing, absent.totals.total_jobs), (9, 90));
    assert!(absent.outcomes[&id("p01")].jobs.iter().all(|job| job.status == JobStatus::Missing));
    assert!(absent.causes.is_empty(), "nothing was tried, so nothing failed: {:?}", absent.causes);
    assert_eq!(headline(&absent).portfolios, "1 of 10 portfolios is absent.");

    let plan = run.plan.as_mut().unwrap();
    plan.closures = BTreeMap::from([(id("p01"), date("2026-11-25"))]);
    assert_eq!(night(std::slice::from_ref(&run)).absent.len(), 1, "closed from the next date on");
    let plan = run.plan.as_mut().unwrap();
    plan.closures = BTreeMap::from([(id("p01"), as_of())]);
    let closed = night(&[run]);
    assert_eq!((closed.verdict, closed.expected_portfolios()), (Verdict::Ok, 9));
    assert_eq!(closed.closed, BTreeMap::from([(id("p01"), as_of())]));
}

/// The portfolios of an open run need not be known one by one: its plan says that they are in it.
#[test]
fn no_portfolio_of_an_open_run_is_absent() {
    let open = ids(3);
    let mut run = full(1, all(&open, |_| good()));
    run.state = NightRunState::Open;
    run.portfolios.clear();
    assert!(night(&[run.clone()]).absent.is_empty());
    run.plan.as_mut().unwrap().expected_before = [id("gone")].into();
    assert_eq!(night(&[run]).absent, [id("gone")].into());
}

/// A filter names what a run was asked for; what the book lacks is in no run.
#[test]
fn an_open_filtered_run_does_not_make_a_portfolio_present_that_is_not_in_the_book() {
    let open = ids(2);
    let mut first = full(1, all(&open, |_| good()));
    first.plan.as_mut().unwrap().expected_before = [id("gone")].into();
    let mut second = filtered(2, &open, all(&open[..1], |_| good()));
    second.filter = vec![open[0].clone(), id("gone")];
    second.state = NightRunState::Open;
    second.portfolios.clear();
    assert_eq!(night(&[first, second]).absent, [id("gone")].into());
}

/// A long message is cut after a sentence or a word, and never within one.
#[test]
fn a_headline_holds_whole_sentences_or_words() {
    let mut run = full(1, all(&ids(2), |_| good()));
    let mut result = control(Control::Freshness, Level::Failure, None);
    result.message =
        format!("0 % is priced by a close of the date. {}", "Add the closes of AAA to the prices ".repeat(9));
    run.controls.push(result);
    let text = headline(&night(&[run.clone()])).to_string();
    assert!(text.contains("Control freshness failed: 0 % is priced by a close of the date. "), "{text}");
    run.controls[0].message = "word ".repeat(90);
    let text = headline(&night(&[run])).to_string();
    assert!(text.contains("word word…") && !text.contains("…."), "{text}");
}

#[test]
fn a_filtered_run_alone_leaves_the_other_portfolios_absent() {
    let all_ids = ids(3);
    let night = night(&[filtered(1, &all_ids, all(&all_ids[..1], |_| good()))]);
    assert_eq!((night.verdict, night.absent.len(), night.totals.missing), (Verdict::Partial, 2, 18));
}

#[test]
fn a_blank_equity_is_one_cause_that_explains_all_four_jobs() {
    let all_ids = ids(5);
    let mut portfolios = all(&all_ids[1..], |_| good());
    portfolios.insert(id("p01"), without_equity(&id("p01")));
    let night = night(&[full(1, portfolios)]);
    assert_eq!(night.causes.len(), 1);
    let cause = &night.causes[0];
    assert_eq!((cause.failed, cause.skipped, cause.explains()), (2, 2, 4));
    assert_eq!((cause.failed_jobs.len(), cause.jobs.len()), (2, 4));
    assert_eq!(
        headline(&night).to_string(),
        "1 of 5 portfolios has no risk figures. 1 cause explains all 4 jobs that did not succeed: portfolio p01 has no \
         usable equity: it is blank (portfolios.csv). Fix portfolios.csv, then run: nightbook run --book /srv/book \
         --data /srv/data --as-of 2026-11-24 --portfolio p01"
    );
}

#[test]
fn two_causes_are_named_with_their_portfolios_and_places() {
    let all_ids = ids(10);
    let row = |id: &domain::ids::PortfolioId| {
        let line = if id.as_str() == "p01" { 39 } else { 112 };
        let message = format!(
            "portfolio {id} has an unusable row: positions.csv:{line}: quantity \"x\": is not a number; correct it and \
             run again"
        );
        failed_at_once(id, ErrorCategory::Permanent, &message)
    };
    let mut portfolios = all(&all_ids[4..], |_| good());
    portfolios.extend(all(&all_ids[..2], row));
    portfolios.extend(all(&all_ids[2..4], without_equity));
    let headline = headline(&night(&[full(1, portfolios)]));
    assert_eq!(headline.portfolios, "4 of 10 portfolios have no risk figures.");
    assert_eq!(
        headline.cause.unwrap(),
        "2: the portfolio has an unusable row: quantity …: is not a number (positions.csv:39, :112). 2: the portfolio \
         has no usable equity: it is blank (portfolios.csv)."
    );
    assert_eq!(
        headline.action.unwrap(),
        "Fix portfolios.csv and positions.csv, then run: nightbook run --book /srv/book --data /srv/data --as-of \
         2026-11-24 --portfolio p01 --portfolio p02 --portfolio p03 --portfolio p04"
    );
}

#[test]
fn a_good_night_says_so_in_numbers_that_agree() {
    let target = CommandTarget::Redacted;
    let many = night(&[full(1, all(&ids(40), |_| good()))]);
    assert_eq!(many.verdict, Verdict::Ok);
    assert_eq!(Headline::of(&many, &[], &target).to_string(), "All 9 jobs succeeded for all 40 portfolios.");
    let one = night(&[full(1, all(&ids(1), |_| good()))]);
    assert_eq!(Headline::of(&one, &[], &target).to_string(), "All 9 jobs succeeded for 1 portfolio.");
}

#[test]
fn stale_closes_fail_the_night_though_every_job_succeeded() {
    let mut run = full(1, all(&ids(3), |_| good()));
    run.plan.as_mut().unwrap().newest_close = Some(date("2026-11-19"));
    let mut stale = control(Control::NewestClose, Level::Failure, None);
    stale.message = "the newest close is of 2026-11-19, 3 sessions before 2026-11-24".into();
    run.controls.push(stale);
    let night = night(&[run]);
    assert_eq!((night.verdict, night.newest_close), (Verdict::Partial, Some(date("2026-11-19"))));
    assert_eq!(
        headline(&night).to_string(),
        "All 9 jobs succeeded for all 3 portfolios, 1 control result failed. Control newest_close failed: the newest \
         close is of 2026-11-19, 3 sessions before 2026-11-24. Add the closes of 2026-11-24 to the prices, then run: \
         nightbook run --book /srv/book --data /srv/data --as-of 2026-11-24"
    );
}

#[test]
fn a_control_that_warns_makes_a_warning_until_it_is_accepted() {
    let mut run = full(1, all(&ids(3), |_| good()));
    run.controls.push(control(Control::PriceJump, Level::Warning, Some(&id("p02"))));
    let of = |acceptances: &[_]| Night::of(&series(), as_of(), std::slice::from_ref(&run), acceptances).unwrap();
    assert_eq!(of(&[]).verdict, Verdict::Warning);
    assert_eq!(headline(&of(&[])).portfolios, "All 9 jobs succeeded for all 3 portfolios, 1 control result warns.");
    let accepted = of(&[acceptance(Control::PriceJump, Some(&id("p02")), 1_000)]);
    assert_eq!(accepted.verdict, Verdict::Ok);
    assert_eq!(accepted.controls[0].accepted.as_ref().unwrap().author, "Ada");
    let whole = of(&[acceptance(Control::PriceJump, None, 1_000)]);
    assert_eq!(whole.verdict, Verdict::Ok, "without a portfolio, all results of the control are accepted");
    let other = of(&[acceptance(Control::PriceJump, Some(&id("p01")), 1_000)]);
    assert_eq!(other.verdict, Verdict::Warning);
}

#[test]
fn an_acceptance_does_not_cover_what_nobody_had_seen() {
    let found = |n: u128, level| {
        let mut run = full(n, all(&ids(2), |_| good()));
        run.controls.push(control(Control::Positions, level, Some(&id("p01"))));
        run
    };
    // Run 1 ended at minute 90, run 2 at minute 150.
    let of = |runs: &[NightRun], minutes| {
        let accepted = acceptance(Control::Positions, None, minutes);
        Night::of(&series(), as_of(), runs, &[accepted]).unwrap().verdict
    };
    assert_eq!(of(&[found(1, Level::Failure)], 100), Verdict::Ok);
    assert_eq!(of(&[found(1, Level::Failure)], 80), Verdict::Partial, "accepted before the run ended");
    assert_eq!(of(&[found(1, Level::Warning), found(2, Level::Failure)], 100), Verdict::Partial, "it is worse now");
    assert_eq!(of(&[found(1, Level::Failure), found(2, Level::Failure)], 100), Verdict::Ok, "the same was found again");
}

#[test]
fn results_of_a_portfolio_come_from_the_run_that_decides_it() {
    let all_ids = ids(2);
    let mut first = full(1, all(&all_ids, |_| good()));
    first.controls.push(control(Control::Positions, Level::Failure, Some(&all_ids[0])));
    first.controls.push(control(Control::InputEnd, Level::Warning, None));
    let mut again = filtered(2, &all_ids, all(&all_ids[..1], |_| good()));
    let levels = |night: &Night| -> Vec<(Control, Level)> {
        night.controls.iter().map(|control| (control.result.control, control.result.level)).collect()
    };
    let rerun = night(&[first.clone(), again.clone()]);
    assert_eq!(levels(&rerun), [(Control::InputEnd, Level::Warning)], "a filtered run removes no result of the run");
    again.controls.push(control(Control::InputEnd, Level::Failure, None));
    again.controls.push(control(Control::Unchanged, Level::Warning, None));
    let worse = night(&[first, again]);
    assert_eq!(levels(&worse), [(Control::InputEnd, Level::Failure), (Control::Unchanged, Level::Warning)]);
}

#[test]
fn accepting_an_absent_portfolio_does_not_fill_its_jobs() {
    let all_ids = ids(2);
    let mut run = full(1, all(&all_ids[1..], |_| good()));
    run.plan.as_mut().unwrap().expected_before = all_ids.iter().cloned().collect();
    run.controls.push(control(Control::Portfolios, Level::Failure, Some(&all_ids[0])));
    let accepted = [acceptance(Control::Portfolios, None, 1_000)];
    let night = Night::of(&series(), as_of(), &[run], &accepted).unwrap();
    assert!(night.controls[0].accepted.is_some());
    assert_eq!((night.verdict, night.totals.missing), (Verdict::Partial, 9));
}

#[test]
fn a_night_runs_until_its_first_full_run_has_ended() {
    let all_ids = ids(2);
    let open = |n: u128| NightRun { state: NightRunState::Open, ..full(n, all(&all_ids, |_| lost())) };
    let running = night(&[open(1)]);
    assert_eq!((running.verdict, running.totals.missing), (Verdict::Running, 18));
    assert!(running.absent.is_empty());
    let stands = night(&[full(1, all(&all_ids, bad)), open(2)]);
    assert_eq!((stands.verdict, stands.in_progress), (Verdict::Failed, vec![run_id(2)]));
    let first_filtered = night(&[filtered(1, &all_ids, all(&all_ids[..1], |_| good())), open(2)]);
    assert_eq!(first_filtered.verdict, Verdict::Running);
    let given_up = night(&[abandoned(1, ErrorCategory::Transient, "the bucket cannot be reached"), open(2)]);
    assert_eq!(given_up.verdict, Verdict::Running, "an abandoned plan is not a run that ended");
}

#[test]
fn a_missed_slot_is_missed_until_something_runs() {
    assert_eq!(night(&[missed(1)]).verdict, Verdict::Missed);
    assert_eq!(night(&[missed(1)]).causes[0].cause, CauseId::named(CauseId::MISSED));
    let late = night(&[missed(1), full(2, all(&ids(1), |_| good()))]);
    assert_eq!((late.verdict, late.runs.len()), (Verdict::Ok, 2));
    assert_eq!(Night::of(&series(), as_of(), &[], &[]), None);
}

#[test]
fn a_night_of_an_abandoned_plan_alone_has_failed_with_its_cause() {
    let message = "cannot read positions.csv:3: a line ends within quotes";
    let only = night(&[abandoned(1, ErrorCategory::Permanent, message)]);
    assert_eq!((only.verdict, only.causes.len()), (Verdict::Failed, 1));
    assert_eq!(
        headline(&only).to_string(),
        "No portfolio was processed. Cannot read positions.csv:3: a line ends within quotes. Fix positions.csv:3, then \
         run: nightbook run --book /srv/book --data /srv/data --as-of 2026-11-24"
    );
    let late_record = night(&[abandoned(1, ErrorCategory::Permanent, message), missed(2)]);
    assert_eq!(late_record.causes, only.causes, "a missed slot says nothing where there is a run");
    let rerun = night(&[full(1, all(&ids(2), |_| good())), abandoned(2, ErrorCategory::Permanent, message)]);
    assert_eq!((rerun.verdict, rerun.causes.len()), (Verdict::Ok, 0));
}

#[test]
fn a_book_without_portfolios_has_failed() {
    let night = night(&[full(1, BTreeMap::new())]);
    assert_eq!((night.verdict, night.totals.total_jobs), (Verdict::Failed, 0));
    assert_eq!(night.causes[0].cause, CauseId::named(CauseId::NO_PORTFOLIOS));
}

#[test]
fn lost_work_keeps_its_newest_records_and_is_one_cause() {
    let all_ids = ids(2);
    let mut half = good();
    half.jobs.truncate(4);
    half.ended_on_its_own = false;
    let first = full(1, BTreeMap::from([(all_ids[0].clone(), good()), (all_ids[1].clone(), half)]));
    let night = night(&[first]);
    let outcome = &night.outcomes[&all_ids[1]];
    assert_eq!((outcome.decided_by, outcome.newest_run), (None, Some(run_id(1))));
    assert_eq!((night.totals.success, night.totals.missing), (13, 5));
    assert_eq!(night.causes[0].cause, CauseId::named(CauseId::MISSING));
    assert_eq!(night.verdict, Verdict::Partial);
}

#[test]
fn a_job_that_the_deciding_run_added_is_missing_elsewhere() {
    let all_ids = ids(2);
    let first = full(1, all(&all_ids, |_| good()));
    let mut second = full(2, all(&all_ids[..1], |_| good()));
    second.plan.as_mut().unwrap().open = all_ids.iter().cloned().collect();
    let plan = second.plan.as_mut().unwrap();
    plan.jobs.push(domain::night::NightJob { name: "own_report".parse().unwrap(), ..nine_jobs().remove(0) });
    let night = night(&[first, second]);
    assert_eq!((night.totals.total_jobs, night.totals.missing), (20, 2));
}

/// A night of another date, with these portfolios and what became of each.
fn on(date_text: &str, portfolios: BTreeMap<domain::ids::PortfolioId, PortfolioRun>) -> Night {
    Night::of(&series(), date(date_text), &[full(1, portfolios)], &[]).unwrap()
}

#[test]
fn a_cause_that_was_gone_is_back_after_so_many_good_nights() {
    let all_ids = ids(3);
    let good_night = |day: &str| on(day, all(&all_ids, |_| good()));
    let bad_night = |day: &str| on(day, all(&all_ids, without_equity));
    let cause = bad_night("2026-11-16").causes[0].cause.clone();
    let nights = [bad_night("2026-11-16"), bad_night("2026-11-17")];
    let lasts = standing(&nights, &cause).unwrap();
    assert_eq!(lasts, CauseStanding { since: date("2026-11-16"), nights: 2, back_after: None });
    assert_eq!(lasts.text(), "since 2026-11-16 (2 nights)");

    let mut nights = nights.to_vec();
    nights.extend([good_night("2026-11-18"), good_night("2026-11-19")]);
    assert_eq!(standing(&nights, &cause), None, "it is over");
    nights.push(bad_night("2026-11-20"));
    let back = standing(&nights, &cause).unwrap();
    assert_eq!(back, CauseStanding { since: date("2026-11-20"), nights: 1, back_after: Some(2) });
    assert_eq!(back.text(), "back after 2 good nights");
    nights.push(bad_night("2026-11-23"));
    nights.reverse();
    assert_eq!(
        standing(&nights, &cause).unwrap().text(),
        "since 2026-11-20 (2 nights), back after 2 good nights",
        "the order of the nights does not matter"
    );
}

#[test]
fn a_night_that_shows_nothing_neither_ends_a_cause_nor_counts() {
    let all_ids = ids(2);
    let bad_night = |day: &str| on(day, all(&all_ids, without_equity));
    let cause = bad_night("2026-11-16").causes[0].clone();
    let never_tried = on("2026-11-17", all(&all_ids, bad));
    let missed_night = Night::of(&series(), date("2026-11-18"), &[missed(1)], &[]).unwrap();
    assert_eq!(recovery(&cause, &never_tried), None, "the jobs that it failed were skipped");
    assert_eq!(recovery(&cause, &missed_night), None);
    let nights = [bad_night("2026-11-16"), never_tried, missed_night, bad_night("2026-11-19")];
    let lasts = standing(&nights, &cause.cause).unwrap();
    assert_eq!((lasts.since, lasts.nights, lasts.back_after), (date("2026-11-16"), 2, None));
}

#[test]
fn a_cause_is_over_when_each_portfolio_succeeded_or_is_closed() {
    let all_ids = ids(3);
    let cause = on("2026-11-16", all(&all_ids, without_equity)).causes[0].clone();
    let run = |with: &dyn Fn(&domain::ids::PortfolioId) -> PortfolioRun| full(1, all(&all_ids[1..], with));
    let closed = |mut run: NightRun| {
        let plan = run.plan.as_mut().unwrap();
        plan.closures = BTreeMap::from([(all_ids[0].clone(), date("2026-11-17"))]);
        Night::of(&series(), date("2026-11-17"), &[run], &[]).unwrap()
    };
    let over = recovery(&cause, &closed(run(&|_| good()))).unwrap();
    assert_eq!((over.succeeded, over.closed), (2, vec![all_ids[0].clone()]));
    assert_eq!(recovery(&cause, &closed(run(&|_| lost()))), None);
    let mut deleted = run(&|_| good());
    deleted.plan.as_mut().unwrap().expected_before = all_ids.iter().cloned().collect();
    let deleted = Night::of(&series(), date("2026-11-17"), &[deleted], &[]).unwrap();
    assert_eq!(recovery(&cause, &deleted), None, "a deleted portfolio has not recovered");
}
