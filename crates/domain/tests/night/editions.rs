//! Editions: which run changed which recorded figure.

use std::collections::BTreeMap;

use domain::ids::{JobName, PortfolioId};
use domain::night::editions::{MOST_CHANGES, RecordedFigures};
use domain::night::{NightRun, PortfolioRun};
use proptest::prelude::*;

use crate::night_samples::{all, at, filtered, full, good, id, ids, lost, night, run_id};

const SNAPSHOT: &str = "portfolio_snapshot";

fn figures(of: &[(&str, f64)]) -> RecordedFigures {
    let figures = of.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    BTreeMap::from([(JobName::new(SNAPSHOT).unwrap(), figures)])
}

fn with(of: &[(&str, f64)]) -> PortfolioRun {
    PortfolioRun { figures: figures(of), ..good() }
}

fn one(portfolio: &PortfolioId, of: &[(&str, f64)]) -> BTreeMap<PortfolioId, PortfolioRun> {
    BTreeMap::from([(portfolio.clone(), with(of))])
}

#[test]
fn a_second_run_with_other_closes_is_edition_2() {
    let portfolios = ids(2);
    let first = full(1, all(&portfolios, |_| with(&[("daily_pnl", -6_869.0), ("gross", 1e6)])));
    let mut second = full(2, first.portfolios.clone());
    second.portfolios.insert(portfolios[0].clone(), with(&[("daily_pnl", -97_887.0), ("gross", 1e6)]));
    for runs in [[first.clone(), second.clone()], [second.clone(), first.clone()]] {
        let night = night(&runs);
        let [edition] = &night.editions[..] else { panic!("{:?}", night.editions) };
        assert_eq!((edition.number, edition.batch_run_id, edition.at), (2, run_id(2), at(150)));
        assert_eq!((edition.changed_count, &edition.replaces[..]), (1, &[run_id(1)][..]));
        let changed = &edition.changed[0];
        assert_eq!((&changed.portfolio_id, changed.job.as_str()), (&portfolios[0], SNAPSHOT));
        assert_eq!((changed.figure.as_str(), changed.was, changed.now), ("daily_pnl", -6_869.0, -97_887.0));
    }
}

#[test]
fn the_same_figures_again_are_no_edition() {
    let runs = [1, 2, 3].map(|n| full(n, one(&id("a"), &[("daily_pnl", 5.0), ("gross", 1e6)])));
    assert!(night(&runs).editions.is_empty());
}

#[test]
fn a_figure_that_was_not_there_is_filled_and_one_that_is_gone_stays() {
    let portfolio = id("a");
    let runs = [
        full(1, one(&portfolio, &[("gross", 1e6)])),
        full(2, one(&portfolio, &[("gross", 1e6), ("daily_pnl", 7.0)])),
        full(3, BTreeMap::from([(portfolio.clone(), lost())])),
        full(4, one(&portfolio, &[("gross", 1e6)])),
    ];
    assert!(night(&runs).editions.is_empty());
}

#[test]
fn a_figure_that_a_run_does_not_record_is_compared_with_the_run_before() {
    let portfolio = id("a");
    let runs = [
        full(1, one(&portfolio, &[("daily_pnl", -6_869.0), ("gross", 1e6)])),
        full(2, one(&portfolio, &[("gross", 1e6)])),
        full(3, one(&portfolio, &[("daily_pnl", -97_887.0), ("gross", 1e6)])),
    ];
    let night = night(&runs);
    let [edition] = &night.editions[..] else { panic!("{:?}", night.editions) };
    assert_eq!(
        (edition.batch_run_id, edition.changed[0].was, &edition.replaces[..]),
        (run_id(3), -6_869.0, &[run_id(1)][..])
    );
}

#[test]
fn a_figure_that_several_jobs_record_alike_counts_once() {
    let portfolio = id("a");
    let twice = |value: f64| {
        let of = |job: &str| (JobName::new(job).unwrap(), BTreeMap::from([("net".to_owned(), value)]));
        let figures = BTreeMap::from([of(SNAPSHOT), of("portfolio_aggregation")]);
        BTreeMap::from([(portfolio.clone(), PortfolioRun { figures, ..good() })])
    };
    assert_eq!(night(&[full(1, twice(1.0)), full(2, twice(2.0))]).editions[0].changed_count, 1);
}

#[test]
fn a_filtered_run_restates_its_own_portfolios_alone() {
    let portfolios = ids(3);
    let first = full(1, all(&portfolios, |_| with(&[("net", 10.0)])));
    let second = filtered(2, &portfolios, one(&portfolios[1], &[("net", 12.0)]));
    let third = filtered(3, &portfolios, one(&portfolios[1], &[("net", 13.0)]));
    let night = night(&[first, second, third]);
    let numbers: Vec<(u64, f64, f64)> =
        night.editions.iter().map(|edition| (edition.number, edition.changed[0].was, edition.changed[0].now)).collect();
    assert_eq!(numbers, [(2, 10.0, 12.0), (3, 12.0, 13.0)]);
    assert!(night.editions.iter().all(|edition| edition.portfolios == [portfolios[1].clone()]));
}

#[test]
fn the_tolerance_is_that_of_the_plan_of_the_later_run() {
    let portfolio = id("a");
    let first = full(1, one(&portfolio, &[("net", 100.0)]));
    let mut second = full(2, one(&portfolio, &[("net", 101.0)]));
    assert_eq!(night(&[first.clone(), second.clone()]).editions.len(), 1);
    second.plan.as_mut().unwrap().restatement_tolerance = 0.02;
    assert!(night(&[first, second]).editions.is_empty());
}

#[test]
fn an_edition_names_the_first_figures_and_counts_all() {
    let portfolios = ids(30);
    let runs = [1u8, 2].map(|n| full(n.into(), all(&portfolios, |_| with(&[("net", f64::from(n))]))));
    let night = night(&runs);
    let edition = &night.editions[0];
    assert_eq!((edition.changed.len(), edition.changed_count, edition.portfolios.len()), (MOST_CHANGES, 30, 30));
    assert_eq!(edition.shortened().portfolios.len(), MOST_CHANGES);
}

proptest! {
    /// The last `now` of a figure is what the newest run recorded, and each `was` is the `now` before it.
    #[test]
    fn editions_lead_from_the_first_figure_to_the_last(values in prop::collection::vec(0u8..4, 1..8)) {
        let portfolio = id("a");
        let runs: Vec<NightRun> =
            (1..).zip(&values).map(|(n, value)| full(n, one(&portfolio, &[("net", f64::from(*value))]))).collect();
        let mut standing = f64::from(values[0]);
        let night = night(&runs);
        for (number, edition) in (2..).zip(&night.editions) {
            prop_assert_eq!(edition.number, number);
            prop_assert_eq!(edition.changed[0].was, standing);
            standing = edition.changed[0].now;
        }
        prop_assert_eq!(standing, f64::from(*values.last().unwrap()));
    }
}
