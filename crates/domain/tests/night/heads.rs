//! The size of a head.

use std::collections::BTreeMap;

use domain::ids::{ContentHash, PortfolioId};
use domain::night::head::{MOST_ABSENT, MOST_BYTES, has_room_for};
use domain::night::{Acceptance, Control, HeadFacts, Level, Night, NightBasis, NightHead, NightRun, PortfolioRun};
use domain::words::ErrorCategory;

use crate::night_samples::{acceptance, all, as_of, at, control, full, id, ids, plan, series};

fn head(night: &Night, acceptances: Vec<Acceptance>) -> NightHead {
    let facts = HeadFacts {
        version: 7,
        schedule: series(),
        full_run: night.runs.last().copied(),
        acceptances,
        basis: NightBasis::Plans,
        document: ContentHash::of(b"document"),
        folded_at: at(0),
    };
    let head = NightHead::of(night, facts);
    assert!(head.is_of(night));
    head
}

fn bytes(head: &NightHead) -> usize {
    serde_json::to_vec(head).unwrap().len()
}

/// The longest id that a portfolio may have.
fn long(n: u32) -> PortfolioId {
    id(&format!("{n:0>64}"))
}

/// A run in which every name and every message is as long as it may be, and no two portfolios fail alike.
fn worst_run(portfolios: &[PortfolioId], absent: &[PortfolioId]) -> NightRun {
    let mut run = full(1, BTreeMap::new());
    let mut sealed = plan(portfolios);
    sealed.expected_before = absent.iter().cloned().collect();
    sealed.jobs = (0..40)
        .map(|job| domain::night::NightJob {
            name: domain::ids::JobName::new(format!("job_{job:0>60}")).unwrap(),
            ..sealed.jobs[0].clone()
        })
        .collect();
    for (at, portfolio) in portfolios.iter().enumerate() {
        let letter = char::from(b'a' + u8::try_from(at % 26).unwrap());
        let message = format!("{}\u{1}{}", String::from(letter).repeat(1 + at), "\u{1F4C9}".repeat(400));
        let jobs = sealed
            .jobs
            .iter()
            .map(|job| crate::night_samples::failed(job.name.as_str(), portfolio, ErrorCategory::Permanent, &message));
        let jobs = jobs.collect();
        run.portfolios
            .insert(portfolio.clone(), PortfolioRun { ended_on_its_own: true, jobs, ..PortfolioRun::default() });
        let mut result = control(Control::ALL[at % Control::ALL.len()], Level::Failure, Some(portfolio));
        result.message = "\u{1F4C9}".repeat(400);
        run.controls.push(result);
    }
    run.plan = Some(sealed);
    run
}

#[test]
fn a_head_takes_20_kb_at_most_in_the_worst_case() {
    let (portfolios, absent): (Vec<_>, Vec<_>) = ((0..20).map(long).collect(), (1_000..11_000).map(long).collect());
    let worst = worst_run(&portfolios, &absent);
    let run =
        |n| NightRun { portfolios: worst.portfolios.clone(), plan: worst.plan.clone(), ..full(n, BTreeMap::new()) };
    let mut runs: Vec<NightRun> = (1..79).map(run).collect();
    runs.push(NightRun { controls: worst.controls.clone(), ..run(79) });
    let mut acceptances: Vec<Acceptance> = Vec::new();
    loop {
        let mut next = acceptance(Control::ALL[acceptances.len() % Control::ALL.len()], None, 100_000);
        next.note = "\u{1F4C9}".repeat(200);
        next.author = "\u{1F4C9}".repeat(100);
        let with_next: Vec<Acceptance> = acceptances.iter().cloned().chain([next]).collect();
        if !has_room_for(&with_next) {
            break;
        }
        acceptances = with_next;
    }
    assert!(acceptances.len() >= 3, "{}", acceptances.len());
    let night = Night::of(&series(), as_of(), &runs, &acceptances).unwrap();
    let head = head(&night, acceptances);
    assert!(bytes(&head) <= MOST_BYTES, "{} bytes", bytes(&head));
    assert_eq!((head.absent_count, head.cause_count > 10, head.run_count), (10_000, true, 79));
    assert!(!head.absent.is_empty() && !head.causes.is_empty() && !head.controls.is_empty());
}

/// A night with many absent portfolios and an everyday cause names as many as it always did.
#[test]
fn a_head_names_a_hundred_absent_portfolios() {
    let (there, absent) = (ids(20), (1_000..11_000).map(long).collect::<Vec<_>>());
    let mut run = full(1, all(&there, crate::night_samples::without_equity));
    if let Some(plan) = &mut run.plan {
        plan.expected_before = absent.into_iter().collect();
    }
    let night = Night::of(&series(), as_of(), &[run], &[]).unwrap();
    let head = head(&night, Vec::new());
    assert!(bytes(&head) <= MOST_BYTES, "{} bytes", bytes(&head));
    assert_eq!((head.absent.len(), head.causes.len() as u64), (MOST_ABSENT, head.cause_count));
}
