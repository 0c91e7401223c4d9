//! The profit and loss (P&L) of a position on the day, by lot and by cause.

use book::Class;
use chrono::NaiveDate;
use quant::profit::{Moves, PnlExplain, explain_option, lot_pnl};

use crate::shared::{Before, Model, PriceSource, Quote, Shared, previous_session, proceeds, settlement_spot};
use crate::snapshot::{ExitedLot, Holding, Instrument, PinnedLot, PinnedPortfolio, Snapshot};

/// The P&L of a position on the day.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PositionPnl {
    /// Of each lot that is held; `None` where a price is unknown.
    pub lots: Vec<Option<f64>>,
    /// Of held and exited lots together; `None` where none is known.
    pub total: Option<f64>,
    /// Proceeds less cost of the lots exited since the previous session; `None` without any, or without proceeds.
    pub realized: Option<f64>,
    /// The known P&L by cause; `None` where none is known.
    pub explain: Option<PnlExplain>,
}

impl PositionPnl {
    fn count(&mut self, pnl: f64, explain: &PnlExplain) {
        self.total = Some(self.total.unwrap_or(0.0) + pnl);
        self.explain.get_or_insert_default().add(explain);
    }
}

/// The last date before the day that the P&L covers.
fn day_before(snapshot: &Snapshot) -> NaiveDate {
    let session = previous_session(snapshot).and_then(|at| snapshot.sessions.get(at)).copied();
    session.or_else(|| snapshot.as_of.pred_opt()).unwrap_or(snapshot.as_of)
}

/// The P&L of a holding, with the lots of it that were exited since the previous session.
pub(crate) fn of_holding(shared: &Shared, portfolio: &PinnedPortfolio, holding: &Holding) -> PositionPnl {
    let snapshot = &shared.snapshot;
    let instrument = &snapshot.instruments[holding.instrument];
    let quote = &shared.quotes[holding.instrument];
    let day_before = day_before(snapshot);
    let mut out = PositionPnl::default();
    for PinnedLot(quantity, entry_price, entry_date) in &holding.lots {
        let bought = *entry_date > day_before;
        let base = if bought { Some(*entry_price) } else { quote.before.and_then(|before| before.price) };
        let pnl = lot_pnl(*quantity, instrument.multiplier, base, quote.end);
        out.lots.push(pnl);
        if let Some(pnl) = pnl {
            let explain = if bought {
                PnlExplain { trades: pnl, ..PnlExplain::default() }
            } else {
                explain_held(snapshot, instrument, quote, quantity * instrument.multiplier, pnl)
            };
            out.count(pnl, &explain);
        }
    }
    for exit in portfolio.exited.iter().filter(|exit| exit.instrument == holding.instrument) {
        add_exit(shared, exit, day_before, &mut out);
    }
    out
}

/// The P&L of the positions that were exited whole since the previous session: they have no row of their own.
pub(crate) fn of_exited_positions(shared: &Shared, portfolio: &PinnedPortfolio) -> PositionPnl {
    let day_before = day_before(&shared.snapshot);
    let mut out = PositionPnl::default();
    let is_held = |exit: &&ExitedLot| portfolio.holdings.iter().any(|holding| holding.instrument == exit.instrument);
    for exit in portfolio.exited.iter().filter(|exit| !is_held(exit)) {
        add_exit(shared, exit, day_before, &mut out);
    }
    out
}

fn add_exit(shared: &Shared, exit: &ExitedLot, day_before: NaiveDate, out: &mut PositionPnl) {
    let instrument = &shared.snapshot.instruments[exit.instrument];
    let PinnedLot(quantity, entry_price, entry_date) = exit.lot;
    let sold_at = proceeds(&shared.snapshot, instrument, exit.exit_date);
    let before = shared.quotes[exit.instrument].before.and_then(|before| before.price);
    let base = if entry_date > day_before { Some(entry_price) } else { before };
    if let Some(pnl) = lot_pnl(quantity, instrument.multiplier, base, sold_at) {
        out.count(pnl, &PnlExplain { trades: pnl, ..PnlExplain::default() });
    }
    if let Some(realized) = lot_pnl(quantity, instrument.multiplier, Some(entry_price), sold_at) {
        out.realized = Some(out.realized.unwrap_or(0.0) + realized);
    }
}

/// The P&L of a lot that was held since the previous session, by cause.
fn explain_held(snapshot: &Snapshot, instrument: &Instrument, quote: &Quote, units: f64, pnl: f64) -> PnlExplain {
    let before = quote.before.as_ref();
    let is_mark = |source: PriceSource| source == PriceSource::Mark;
    let marked = is_mark(quote.source) || before.is_some_and(|before| is_mark(before.source));
    match instrument.class {
        Class::Private | Class::Cash => PnlExplain { marks: pnl, ..PnlExplain::default() },
        _ if marked => PnlExplain { marks: pnl, ..PnlExplain::default() },
        Class::Public => PnlExplain { linear: pnl, ..PnlExplain::default() },
        Class::Option => explain_by_greeks(snapshot, instrument, quote, units, pnl),
    }
}

fn explain_by_greeks(snapshot: &Snapshot, instrument: &Instrument, quote: &Quote, units: f64, pnl: f64) -> PnlExplain {
    let unexplained = PnlExplain { residual: pnl, ..PnlExplain::default() };
    let Some(terms) = &instrument.option else { return unexplained };
    let Some(Before { model: Some(Model::Ok { greeks, spot: spot_before, volatility: before }), .. }) = quote.before
    else {
        return unexplained;
    };
    let (spot, volatility) = match quote.model {
        Some(Model::Ok { spot, volatility, .. }) => (Some(spot), volatility),
        Some(Model::Expired) => (settlement_spot(snapshot, terms), before),
        _ => (None, before),
    };
    let Some(spot) = spot else { return unexplained };
    let days = (snapshot.as_of.min(terms.expiry) - day_before(snapshot)).num_days();
    let moves =
        Moves { spot: spot - spot_before, days: days as f64, volatility: volatility - before, ..Moves::default() };
    explain_option(Some(&greeks), units, moves, pnl)
}
