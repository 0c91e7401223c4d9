//! Each control at its limits: just inside, just outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use book::{Calendar, MemorySource};
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use domain::night::{Control, ControlResult, ControlValue, Earlier, EarlierValues, Level, NightBefore, NightMembers};
use proptest::prelude::*;

use super::price_history::{deviation, robust_deviation};
use super::price_jump::{jump_limit, split_of};
use super::{listings, percent};
use crate::night::pinned_night;
use crate::snapshot::Snapshot;

const AS_OF: &str = "2026-11-27";
const NIGHT_BEFORE: &str = "2026-11-26";

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn id(text: &str) -> PortfolioId {
    PortfolioId::new(text).unwrap()
}

/// A book of every weekday.
struct World {
    settings: String,
    portfolios: String,
    positions: String,
    prices: String,
    equity: String,
    before: NightBefore,
    filter: Vec<PortfolioId>,
}

impl World {
    fn new() -> Self {
        Self {
            settings: "[schedule]\ncalendar = \"weekdays\"\n[factors]\nMarket = \"SPY\"\n".to_owned(),
            portfolios: "portfolio_id,name,equity\np,P,1000\n".to_owned(),
            positions: "portfolio_id,symbol,quantity,entry_price,entry_date,exit_date,class,mark\n".to_owned(),
            prices: "date,symbol,close\n".to_owned(),
            equity: "date,portfolio_id,equity,flow\n".to_owned(),
            before: NightBefore { as_of: Some(date(NIGHT_BEFORE)), ..NightBefore::default() },
            filter: Vec::new(),
        }
    }

    /// Closes on the weekdays up to the trading date, the last one of that date; `None`: no close.
    fn closes(mut self, symbol: &str, closes: impl IntoIterator<Item = Option<f64>>) -> Self {
        let closes: Vec<Option<f64>> = closes.into_iter().collect();
        let days = Calendar::Weekdays.last_sessions(date(AS_OF), closes.len());
        for (day, close) in days.iter().zip(closes).filter_map(|(day, close)| Some((day, close?))) {
            writeln!(self.prices, "{day},{symbol},{close}").unwrap();
        }
        self
    }

    /// A position of one unit of what has closes of 100, without one of the trading date where it is stale.
    fn flat(self, symbol: &str, stale: bool) -> Self {
        self.holds(symbol, 1.0).closes(symbol, [Some(100.0), Some(100.0), (!stale).then_some(100.0)])
    }

    fn holds(self, symbol: &str, quantity: f64) -> Self {
        self.row(&format!("p,{symbol},{quantity},100,2026-01-05,,,"))
    }

    fn row(mut self, row: &str) -> Self {
        writeln!(self.positions, "{row}").unwrap();
        self
    }

    fn set(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self
    }

    fn results(&self) -> Vec<ControlResult> {
        self.members().controls
    }

    fn members(&self) -> NightMembers {
        let files = [
            ("nightbook.toml", &self.settings),
            ("portfolios.csv", &self.portfolios),
            ("positions.csv", &self.positions),
            ("prices.csv", &self.prices),
            ("equity.csv", &self.equity),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.clone().into_bytes()));
        let reading = book::read(&MemorySource::new(BTreeMap::from(files))).unwrap();
        let book = reading.book.unwrap_or_else(|| panic!("{:?}", reading.errors));
        let snapshot = Snapshot::of_night(&book, date(AS_OF), &self.filter, &self.before.kept_equity);
        let filtered = !self.filter.is_empty();
        pinned_night(&book, &snapshot, &self.before, filtered).members
    }

    /// The results of one control as level, portfolio and symbol.
    fn found(&self, control: Control) -> Vec<(Level, Option<String>, Option<String>)> {
        let results = self.results().into_iter().filter(|result| result.control == control);
        results.map(|result| (result.level, result.portfolio_id.map(|id| id.to_string()), result.symbol)).collect()
    }

    fn result(&self, control: Control) -> ControlResult {
        let found: Vec<ControlResult> = self.results().into_iter().filter(|result| result.control == control).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }
}

const fn run(level: Level) -> (Level, Option<String>, Option<String>) {
    (level, None, None)
}

fn portfolio(level: Level) -> (Level, Option<String>, Option<String>) {
    (level, Some("p".to_owned()), None)
}

#[test]
fn newest_close_fails_without_a_close_of_the_trading_date() {
    assert_eq!(World::new().flat("AAA", false).results(), []);
    let stale = World::new().flat("AAA", true);
    let result = stale.result(Control::NewestClose);
    assert_eq!((result.level, result.observed), (Level::Failure, Some(ControlValue::Date(date(NIGHT_BEFORE)))));
    assert_eq!(result.limit, Some(ControlValue::Date(date(AS_OF))));
    assert!(result.message.contains("1 session before 2026-11-27"), "{}", result.message);
    assert!(result.message.contains("Add the closes of 2026-11-27 to the prices"), "{}", result.message);
    // A close after the trading date says nothing about it.
    let mut later = World::new().flat("AAA", true);
    later.prices.push_str("2026-11-30,AAA,100\n");
    assert_eq!(later.result(Control::NewestClose).level, Level::Failure);
    let none = World::new().holds("AAA", 1.0).set("[prices]\nsource = \"files\"\n");
    assert_eq!(none.result(Control::NewestClose).observed, None);
}

#[test]
fn a_control_that_is_off_is_not_evaluated() {
    let off = "[controls]\nnewest_close = \"off\"\nfreshness = \"off\"\n";
    assert_eq!(World::new().flat("AAA", true).set(off).results(), []);
    let lax = "[controls]\nnewest_close = { warn = 0, fail = 1 }\nfreshness = \"off\"\n";
    assert_eq!(World::new().flat("AAA", true).set(lax).found(Control::NewestClose), [run(Level::Warning)]);
}

#[test]
fn freshness_judges_the_share_of_exposure_with_a_close() {
    let stale = |count: usize| {
        let world = (0..100).fold(World::new(), |world, at| world.flat(&format!("S{at}"), at < count));
        world.found(Control::Freshness)
    };
    assert_eq!(stale(0), []);
    assert_eq!(stale(2), []);
    assert_eq!(stale(3), [run(Level::Warning), portfolio(Level::Warning)]);
    assert_eq!(stale(10), [run(Level::Warning), portfolio(Level::Warning)]);
    // A portfolio only warns.
    assert_eq!(stale(11), [run(Level::Failure), portfolio(Level::Warning)]);
}

#[test]
fn freshness_counts_options_by_their_underlying_and_no_private_holdings() {
    let option = "p,AAA261218C00000010,1,1,2026-01-05,,,";
    let world = |stale: bool| World::new().flat("BBB", false).closes("AAA", [Some(100.0), (!stale).then_some(100.0)]);
    assert_eq!(world(false).row(option).found(Control::Freshness), []);
    // 100 units of a deep option on AAA weigh a hundred times one unit of BBB.
    let result = &world(true).row(option).results()[0];
    assert_eq!((result.control, result.level), (Control::Freshness, Level::Failure));
    assert!(matches!(result.observed, Some(ControlValue::Number(share)) if share < 0.011), "{result:?}");
    assert!(result.message.contains("Add the closes of AAA"), "{}", result.message);
    let private = World::new().flat("BBB", false).row("p,FUND,1,1,2026-01-05,,private,1000");
    assert_eq!(private.results(), []);
    // A public position without any price counts by its entry price.
    let unpriced = World::new().flat("BBB", false).holds("ZZZ", 1.0);
    assert_eq!(unpriced.found(Control::Freshness)[0], run(Level::Failure));
}

#[test]
fn freshness_allows_the_lag_of_funds_and_foreign_holidays() {
    let late = |symbol: &str, settings: &str| {
        let world = World::new().flat("BBB", false).flat(symbol, true).set(settings);
        !world.found(Control::Freshness).is_empty()
    };
    assert!(late("AAA", ""));
    assert!(!late("VFIAX", ""));
    assert!(late("VFIAX", "[freshness.lag]\nVFIAX = 0\n"));
    assert!(!late("AAA", "[freshness.lag]\nAAA = 1\n"));
    assert!(!late("VOD.L", ""), "no listing of London has a close: it was closed");
    assert!(late("BRK.B", ""), "a class of shares, not an exchange");
    let open = World::new().flat("BBB", false).flat("VOD.L", true).flat("BP.L", false);
    assert!(!open.found(Control::Freshness).is_empty(), "London was open");
    let two =
        |symbol: &str| World::new().flat("BBB", false).holds(symbol, 1.0).closes(symbol, [Some(100.0), None, None]);
    assert!(!two("VFIAX").found(Control::Freshness).is_empty(), "a fund may lag one session");
    assert!(!two("VOD.L").found(Control::Freshness).is_empty(), "so may a foreign listing");
}

#[test]
fn an_exchange_is_the_suffix_of_a_symbol() {
    assert_eq!(listings::exchange_of("SAP.DE"), Some("DE"));
    assert_eq!(listings::exchange_of("BRK.B"), None);
    assert_eq!(listings::exchange_of("AAPL"), None);
    for (symbol, fund) in [("VFIAX", true), ("NVDAX", true), ("VFIAx", false), ("FOX", false), ("ABCDEX", false)] {
        assert_eq!(listings::is_fund(symbol), fund, "{symbol}");
    }
}

/// Closes that move by this much each day and end at 100, or twice at 100.
fn moving(by: f64, same: bool) -> impl Iterator<Item = Option<f64>> {
    let step = if same { 0 } else { 1 };
    let earlier = (0..30).rev().map(move |at| if (at + step) % 2 == 0 { 100.0 } else { 100.0 * (1.0 + by) });
    earlier.chain([100.0]).map(Some)
}

#[test]
fn unchanged_judges_the_share_of_value_with_the_same_close() {
    let same = |count: usize, of: usize, by: f64| {
        let world = (0..of).fold(World::new(), |world, at| {
            let symbol = format!("S{at}");
            world.holds(&symbol, 1.0).closes(&symbol, moving(by, at < count))
        });
        world.found(Control::Unchanged)
    };
    assert_eq!(same(1, 20, 0.01), []);
    assert_eq!(same(2, 20, 0.01), [run(Level::Warning)]);
    assert_eq!(same(10, 20, 0.01), [run(Level::Warning)]);
    assert_eq!(same(11, 20, 0.01), [run(Level::Failure)]);
    assert_eq!(same(10, 10, 0.01), [run(Level::Failure)]);
    assert_eq!(same(9, 9, 0.01), [], "nine symbols are too few");
    assert_eq!(same(20, 20, 0.004), [], "what hardly moves may stand still");
}

#[test]
fn positions_judges_rows_that_neither_stayed_nor_exited() {
    let world = |before: u64, kept: usize, exited: usize| {
        let mut world = World::new();
        for at in 0..kept {
            world = world.flat(&format!("K{at}"), false);
        }
        for at in 0..exited {
            world = world.row(&format!("p,X{at},1,100,2026-01-05,2026-11-27,,"));
        }
        world.before.rows.insert(id("p"), Earlier { as_of: date(NIGHT_BEFORE), value: before });
        world.found(Control::Positions)
    };
    assert_eq!(world(10, 10, 0), []);
    assert_eq!(world(10, 8, 0), []);
    assert_eq!(world(10, 7, 0), [portfolio(Level::Warning)]);
    assert_eq!(world(10, 5, 0), [portfolio(Level::Warning)]);
    assert_eq!(world(10, 4, 0), [portfolio(Level::Failure)]);
    assert_eq!(world(10, 4, 4), []);
    assert_eq!(world(10, 0, 10), [], "each row has exited");
    assert_eq!(world(10, 0, 9), [portfolio(Level::Failure)], "none is left, and one has not exited");
    assert_eq!(world(4, 1, 0), [], "four rows are too few for a share");
    assert_eq!(world(1, 0, 0), [portfolio(Level::Failure)], "none is left");
    assert_eq!(World::new().flat("AAA", false).found(Control::Positions), [], "the first night passes");
}

#[test]
fn orphans_fail_in_a_full_run() {
    let orphan = World::new().flat("AAA", false).row("q,AAA,1,100,2026-01-05,,,").row("q,AAA,2,100,2026-01-05,,,");
    let result = orphan.result(Control::Orphans);
    assert_eq!((result.level, result.observed), (Level::Failure, Some(ControlValue::Number(2.0))));
    assert!(result.message.contains("(q; the first is positions.csv:3)"), "{}", result.message);
    let filtered = World { filter: vec![id("p")], ..orphan };
    assert_eq!(filtered.results(), []);
}

#[test]
fn a_secret_in_a_cell_is_masked() {
    let pasted = World::new().flat("AAA", false).row("password=hunter2hunter2,AAA,1,100,2026-01-05,,,");
    let message = pasted.result(Control::Orphans).message;
    assert!(message.contains("***") && !message.contains("hunter2"), "{message}");
}

#[test]
fn input_end_warns_of_a_file_without_a_last_line_end() {
    let mut cut = World::new().flat("AAA", false);
    cut.prices = cut.prices.trim_end().to_owned();
    let result = cut.result(Control::InputEnd);
    assert_eq!(result.level, Level::Warning);
    assert!(result.message.starts_with("prices.csv ends without a line break"), "{}", result.message);
    cut.positions = cut.positions.trim_end().to_owned();
    let both = cut.result(Control::InputEnd).message;
    assert!(both.starts_with("positions.csv and prices.csv end without a line break"), "{both}");
}

#[test]
fn price_jump_names_the_split_and_judges_the_equity() {
    let jump =
        |close: f64, quantity: f64| World::new().holds("AAA", quantity).closes("AAA", [Some(100.0), Some(close)]);
    let found = |close, quantity| jump(close, quantity).found(Control::PriceJump);
    let warning = (Level::Warning, None, Some("AAA".to_owned()));
    let failure = (Level::Failure, Some("p".to_owned()), Some("AAA".to_owned()));
    assert_eq!(found(120.0, 1.0), []);
    assert_eq!(found(121.0, 1.0), std::slice::from_ref(&warning));
    assert_eq!(found(79.0, 1.0), std::slice::from_ref(&warning));
    // The equity is 1,000: 4 units that lose 25 each move exactly 10 % of it.
    assert_eq!(found(75.0, 4.0), std::slice::from_ref(&warning));
    assert_eq!(found(75.0, 4.1), [warning.clone(), failure.clone()]);
    assert_eq!(found(75.0, -4.1), [warning.clone(), failure]);
    let split = jump(25.0, 1.0).result(Control::PriceJump);
    assert!(
        split.message.contains("moves by -75 % from 100 on 2026-11-26 to 25 on 2026-11-27, like a 4:1 split"),
        "{}",
        split.message
    );
    assert!(split.message.contains("1 portfolio holds it"), "{}", split.message);
    // A symbol that nobody holds, and one without a close of the date.
    assert_eq!(World::new().flat("BBB", false).closes("AAA", [Some(100.0), Some(1.0)]).results(), []);
    assert_eq!(
        World::new().flat("BBB", false).holds("AAA", 0.001).closes("AAA", [Some(100.0), Some(1.0), None]).results(),
        []
    );
    // The last own close counts, however old it is.
    let gap =
        World::new().flat("BBB", false).holds("AAA", 1.0).closes("AAA", [Some(100.0), None, None, None, Some(50.0)]);
    assert!(gap.result(Control::PriceJump).message.contains("like a 2:1 split"), "{:?}", gap.results());
}

#[test]
fn price_jump_allows_what_the_symbol_often_does() {
    let wild: Vec<f64> = (0..60).map(|at| if at % 2 == 0 { 0.05 } else { -0.05 }).collect();
    let limit = 8.0 * robust_deviation(&wild);
    assert!((limit - 8.0 * 0.05 * 1.4826).abs() < 1e-12, "{limit}");
    assert_eq!(jump_limit(limit - 1e-9, &wild, 0.2), None);
    assert_eq!(jump_limit(limit + 1e-9, &wild, 0.2), Some(limit));
    assert_eq!(jump_limit(0.25, &[], 0.2), Some(0.2));
    // A ratio of a split is named below the limit too.
    assert_eq!(jump_limit(-0.17, &[], 0.2), Some(0.15));
    assert_eq!(jump_limit(-0.15, &[], 0.2), None);
    assert_eq!(jump_limit(0.16, &[], 0.2), None);
}

#[test]
fn splits_are_named_as_people_say_them() {
    for (ratio, name) in
        [(0.25, "4:1"), (4.0, "1:4"), (2.0 / 3.0, "3:2"), (0.75, "4:3"), (0.8, "5:4"), (0.05, "20:1"), (30.0, "1:30")]
    {
        assert_eq!(split_of(ratio - 1.0).map(|split| split.to_string()).as_deref(), Some(name));
    }
    assert_eq!(split_of(10_000.0 - 1.0), None);
    assert_eq!(split_of(0.9), None);
}

#[test]
fn equity_judges_the_change_since_the_night_before() {
    let world = |equity: f64| {
        let mut world = World::new().flat("AAA", false);
        world.portfolios = format!("portfolio_id,name,equity\np,P,{equity}\n");
        world.before.equity.insert(id("p"), Earlier { as_of: date(NIGHT_BEFORE), value: 1000.0 });
        world.found(Control::Equity)
    };
    assert_eq!(world(1050.0), []);
    assert_eq!(world(1051.0), [portfolio(Level::Warning)]);
    assert_eq!(world(500.0), [portfolio(Level::Warning)]);
    assert_eq!(world(499.0), [portfolio(Level::Failure)]);
    assert_eq!(World::new().flat("AAA", false).found(Control::Equity), [], "the first night passes");
}

#[test]
fn equity_does_not_count_what_a_flow_explains() {
    // 1,000 on the night before, and these rows since then.
    let found = |rows: &str| {
        let mut world = World::new().flat("AAA", false);
        world.equity.push_str(rows);
        world.before.equity.insert(id("p"), Earlier { as_of: date(NIGHT_BEFORE), value: 1000.0 });
        world.results().into_iter().filter(|result| result.control == Control::Equity).collect::<Vec<_>>()
    };
    let levels = |rows: &str| found(rows).iter().map(|result| result.level).collect::<Vec<_>>();
    assert_eq!(levels("2026-11-27,p,1600,\n"), [Level::Failure]);
    assert_eq!(levels("2026-11-27,p,1600,600\n"), []);
    assert_eq!(levels("2026-11-27,p,1600,550\n"), []);
    assert_eq!(levels("2026-11-27,p,1600,500\n"), [Level::Warning]);
    assert_eq!(levels("2026-11-27,p,400,-600\n"), []);
    assert_eq!(levels("2026-11-27,p,1000,600\n"), [Level::Failure], "the money did not arrive");
    // The flow of the night before is in its equity already; a row with a flow alone counts beside an undated equity.
    assert_eq!(levels("2026-11-26,p,,600\n2026-11-27,p,1600,\n"), [Level::Failure]);
    assert_eq!(levels("2026-11-27,p,,600\n"), [Level::Failure], "portfolios.csv still says 1,000");
    // An equity that comes a day late is compared as of its own date: tonight's flow is not in it yet.
    assert_eq!(levels("2026-11-26,p,1000,\n2026-11-27,p,,600\n"), []);
    let message = &found("2026-11-27,p,1600,500\n")[0].message;
    let wanted = "is 1600 on 2026-11-27 and was 1000 on 2026-11-26, with flows of 500 since then: a change of 10 %";
    assert!(message.contains(wanted), "{message}");
    let message = &found("2026-11-27,p,1e-300,-1e-300\n")[0].message;
    assert!(message.len() < 300, "{message}");
}

#[test]
fn the_equity_of_a_date_decides_which_one_is_pinned() {
    let pinned = |rows: &str, kept: Option<f64>| {
        let mut world = World::new().flat("AAA", false);
        world.equity.push_str(rows);
        world.before.kept_equity.extend(kept.map(|equity| (id("p"), equity)));
        let members = world.members();
        (members.open[&id("p")].equity, members.open[&id("p")].equity_on)
    };
    assert_eq!(pinned("", None), (Some(1000.0), None), "portfolios.csv");
    assert_eq!(pinned("", Some(900.0)), (Some(900.0), None), "an older night keeps what it had");
    assert_eq!(pinned("2026-11-27,p,800,\n", Some(900.0)), (Some(800.0), None));
    assert_eq!(pinned("2026-11-26,p,700,\n2026-11-30,p,800,\n", None), (Some(700.0), Some(date(NIGHT_BEFORE))));
    assert_eq!(pinned("2026-11-25,p,700,\n", None), (Some(1000.0), None), "the correction of an older night");
    assert_eq!(pinned("2026-11-25,p,700,\n", Some(900.0)), (Some(900.0), None), "the correction of an older night");
    assert_eq!(pinned("2026-11-30,p,800,\n", None), (Some(1000.0), None), "a later row is not seen");
    assert_eq!(pinned("2026-11-27,p,-1,\n", None), (None, None), "not usable");
}

#[test]
fn portfolios_fails_for_each_that_the_book_lost() {
    let mut world = World::new().flat("AAA", false);
    world.before.expected = BTreeSet::from([id("p"), id("gone")]);
    let result = world.result(Control::Portfolios);
    assert_eq!((result.level, result.portfolio_id), (Level::Failure, Some(id("gone"))));
    assert!(result.message.contains("since the night of 2026-11-26"), "{}", result.message);
    let filtered = World { filter: vec![id("p")], ..world };
    assert_eq!(filtered.results(), []);
}

#[test]
fn what_an_absent_portfolio_had_is_kept_for_its_return() {
    let mut world = World::new().flat("AAA", false);
    world.before.expected = BTreeSet::from([id("p"), id("gone"), id("closed")]);
    let (rows, equity) =
        (Earlier { as_of: date("2026-11-20"), value: 7 }, Earlier { as_of: date("2026-11-20"), value: 5.0 });
    for portfolio in ["p", "gone", "closed"] {
        world.before.rows.insert(id(portfolio), rows);
        world.before.equity.insert(id(portfolio), equity);
    }
    world.portfolios = "portfolio_id,name,equity,closed_on\np,P,1000,\nclosed,C,1,2026-11-23\n".to_owned();
    let kept = EarlierValues { rows: Some(rows), equity: Some(equity) };
    assert_eq!(world.members().earlier, BTreeMap::from([(id("gone"), kept)]));
}

#[test]
fn a_portfolio_with_an_unusable_row_is_not_judged() {
    let mut world = World::new().row("p,AAA,many,100,2026-01-05,,,").closes("AAA", [Some(100.0), Some(1.0)]);
    world.before.rows.insert(id("p"), Earlier { as_of: date(NIGHT_BEFORE), value: 9 });
    world.before.equity.insert(id("p"), Earlier { as_of: date(NIGHT_BEFORE), value: 1.0 });
    assert_eq!(world.results(), []);
}

#[test]
fn shares_are_shown_with_the_digits_that_decide() {
    for (share, text) in [(0.98, "98 %"), (0.9799, "97.99 %"), (-0.75, "-75 %"), (0.0, "0 %"), (9_999.0, "999900 %")] {
        assert_eq!(percent(share), text);
    }
}

proptest! {
    #[test]
    fn every_whole_split_is_found(n in 2_u32..=20, error in -0.02_f64..0.02) {
        // Neighbors of large ratios are closer than the tolerance: the nearest is within it.
        let forward = split_of((1.0 + error) / f64::from(n) - 1.0).unwrap().to_string();
        let named: f64 = forward.strip_suffix(":1").unwrap().parse().unwrap();
        prop_assert!((named / f64::from(n) - 1.0).abs() <= 0.05, "{n}: {forward}");
        if error == 0.0 {
            prop_assert_eq!(forward, format!("{n}:1"));
        }
    }

    #[test]
    fn a_larger_move_is_never_less_of_a_jump(change in 0.2001_f64..5.0, more in 0.0_f64..5.0, earlier in prop::collection::vec(-0.1_f64..0.1, 0..70)) {
        // Above the limit of every split, only the size counts.
        if jump_limit(change, &earlier, 0.2).is_some_and(|limit| limit > 0.15) {
            prop_assert!(jump_limit(change + more, &earlier, 0.2).is_some());
        }
    }

    #[test]
    fn deviations_scale_and_ignore_a_shift(values in prop::collection::vec(-1.0_f64..1.0, 2..70), shift in -1.0_f64..1.0, scale in 0.1_f64..10.0) {
        let moved: Vec<f64> = values.iter().map(|value| value * scale + shift).collect();
        for of in [deviation, robust_deviation] {
            prop_assert!(of(&values) >= 0.0);
            prop_assert!((of(&moved) - of(&values) * scale).abs() < 1e-9);
        }
    }
}
