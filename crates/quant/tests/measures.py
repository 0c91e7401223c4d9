"""Writes measures.json: reference values of the measures that golden.json does not hold.

Origin: option values and Greeks by QuantLib (AnalyticEuropeanEngine, continuous flat curves, Actual/365); quantiles by
numpy.quantile (linear, type 7); standard deviations by numpy; binomial and chi-square probabilities by scipy.stats.
Run: python measures.py > measures.json (QuantLib 1.44, numpy 2.4, scipy 1.17; seed 16).
"""

import json
import math
import sys

import numpy as np
import QuantLib as ql
import scipy
from scipy import optimize, stats

RNG = np.random.default_rng(16)


def option(kind, spot, strike, days, rate, dividend, volatility):
    today = ql.Date(2, 1, 2024)
    ql.Settings.instance().evaluationDate = today
    dc, cal = ql.Actual365Fixed(), ql.NullCalendar()
    curve = lambda r: ql.YieldTermStructureHandle(ql.FlatForward(today, r, dc))
    vol = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, cal, volatility, dc))
    process = ql.BlackScholesMertonProcess(ql.QuoteHandle(ql.SimpleQuote(spot)), curve(dividend), curve(rate), vol)
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if kind == "call" else ql.Option.Put, strike)
    out = ql.VanillaOption(payoff, ql.EuropeanExercise(today + int(days)))
    out.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return out


def price(kind, spot, strike, days, rate, dividend, volatility):
    if days == 0:
        return max(spot - strike, 0.0) if kind == "call" else max(strike - spot, 0.0)
    return option(kind, spot, strike, days, rate, dividend, volatility).NPV()


def draw_option():
    return {
        "kind": str(RNG.choice(["call", "put"])),
        "spot": float(RNG.uniform(50, 150)),
        "strike": float(RNG.uniform(50, 150)),
        "days": int(RNG.integers(5, 400)),
        "rate": float(RNG.uniform(-0.01, 0.06)),
        "dividend_yield": float(RNG.uniform(0, 0.03)),
        "volatility": float(RNG.uniform(0.1, 0.7)),
    }


def pnl_case():
    before = draw_option()
    elapsed = int(RNG.integers(1, 5))
    after = before | {
        "spot": before["spot"] * float(1 + RNG.normal(0, 0.03)),
        "days": before["days"] - elapsed,
        "volatility": before["volatility"] + float(RNG.normal(0, 0.02)),
        "rate": before["rate"] + float(RNG.normal(0, 0.001)),
    }
    units = float(RNG.integers(-50, 50) * 100)
    g = option(**rename(before))
    base, end = price(**rename(before)), price(**rename(after))
    ds = after["spot"] - before["spot"]
    terms = {
        "delta": g.delta() * ds * units,
        "gamma": 0.5 * g.gamma() * ds * ds * units,
        "theta": g.theta() / 365 * elapsed * units,
        "vega": g.vega() * (after["volatility"] - before["volatility"]) * units,
        "rho": g.rho() * (after["rate"] - before["rate"]) * units,
    }
    pnl = units * (end - base)
    return {
        "before": before,
        "after": after,
        "units": units,
        "expected": terms | {"pnl": pnl, "residual": pnl - sum(terms.values())},
    }


def rename(case):
    case = dict(case)
    case["dividend"] = case.pop("dividend_yield")
    return case


def carried(closes):
    returns, last = [], None
    for close in closes:
        returns.append(None if last is None or close is None else close / last - 1)
        last = close if close is not None else last
    return returns[1:]


def simulation_case(days, gaps):
    market = RNG.standard_t(4, days) * 0.01
    positions = []
    for at in range(6):
        closes = [100.0]
        for move in market:
            closes.append(closes[-1] * (1 + 0.8 * move + RNG.normal(0, 0.008)))
        if gaps:
            closes = [None if 0 < i < days and RNG.random() < 0.1 else c for i, c in enumerate(closes)]
        units = float(RNG.integers(-40, 80) * 10)
        terms = None
        if at % 2:
            terms = draw_option() | {"spot": closes[-1]}
        positions.append({"units": units, "price": closes[-1], "closes": closes, "option": terms})
    equity = 100_000.0
    columns = []
    for p in positions:
        row = []
        for r in carried(p["closes"]):
            if r is None:
                row.append(0.0)
            elif p["option"]:
                o = rename(p["option"])
                moved = o | {"spot": o["spot"] * (1 + r), "days": o["days"] - 1}
                row.append(p["units"] * (price(**moved) - price(**o)))
            else:
                row.append(p["units"] * p["price"] * r)
        columns.append(row)
    pnl = np.array(columns) / equity
    total = pnl.sum(axis=0)
    expected = {"returns": total.tolist(), "volatility": float(np.std(total, ddof=1) * math.sqrt(252))}
    order = np.argsort(total, kind="stable")
    for name, alpha in (("95", 0.05), ("99", 0.01)):
        tail = order[: math.floor((days - 1) * alpha) + 1]
        expected["var_" + name] = float(np.quantile(total, alpha))
        expected["es_" + name] = float(total[tail].mean())
        if name == "95":
            expected["components"] = pnl[:, tail].mean(axis=1).tolist()
    variance = np.mean(total[:20] ** 2)
    for r in total[20:]:
        variance = 0.94 * variance + 0.06 * r * r
    sigma = math.sqrt(variance)
    expected["ewma_volatility"] = sigma * math.sqrt(252)
    expected["ewma_var_95"] = float(stats.norm.ppf(0.05) * sigma)
    expected["ewma_var_99"] = float(stats.norm.ppf(0.01) * sigma)
    return {"equity": equity, "positions": positions, "expected": expected}


def backtest_case(pairs, probability, hits):
    x = int(sum(hits))
    binomial = lambda p: stats.bernoulli(p).logpmf
    hit = np.array(hits)
    null, fitted = binomial(probability)(hit).sum(), binomial(x / pairs)(hit).sum()
    expected = {"exceptions": x, "expected": pairs * probability, "kupiec_lr": float(-2 * (null - fitted))}
    expected["kupiec_p"] = float(stats.chi2.sf(expected["kupiec_lr"], 1))
    n = np.zeros((2, 2))
    for a, b in zip(hits, hits[1:]):
        n[int(a), int(b)] += 1
    if n[0].sum() and n[1].sum():
        xlog = lambda count, share: 0.0 if count == 0 else count * math.log(share)
        share = n[:, 1].sum() / n.sum()
        one = xlog(n[:, 0].sum(), 1 - share) + xlog(n[:, 1].sum(), share)
        two = sum(xlog(n[i, 0], n[i, 0] / n[i].sum()) + xlog(n[i, 1], n[i, 1] / n[i].sum()) for i in (0, 1))
        expected["independence_lr"] = max(-2 * (one - two), 0.0)
        expected["independence_p"] = float(stats.chi2.sf(expected["independence_lr"], 1))
        expected["christoffersen_lr"] = expected["kupiec_lr"] + expected["independence_lr"]
        expected["christoffersen_p"] = float(stats.chi2.sf(expected["christoffersen_lr"], 2))
    else:
        for key in ("independence_lr", "independence_p", "christoffersen_lr", "christoffersen_p"):
            expected[key] = None
    if probability == 0.01 and pairs >= 100:
        below = stats.binom.cdf(x, pairs, probability)
        expected["zone"] = "green" if below < 0.95 else "yellow" if below < 0.9999 else "red"
    else:
        expected["zone"] = None
    return {"probability": probability, "hits": [int(h) for h in hits], "expected": expected}


def backtests():
    cases = []
    for count in (0, 1, 4, 5, 9, 10, 25):
        hits = np.zeros(250, dtype=bool)
        hits[RNG.choice(250, count, replace=False)] = True
        cases.append(backtest_case(250, 0.01, hits))
        cases.append(backtest_case(250, 0.05, hits))
    clustered = np.zeros(253, dtype=bool)
    clustered[[40, 41, 42, 43, 100, 101, 102, 180, 181, 182, 252]] = True
    cases.append(backtest_case(253, 0.05, clustered))
    thirty = np.zeros(253, dtype=bool)
    thirty[RNG.choice(253, 30, replace=False)] = True
    cases.append(backtest_case(253, 0.05, thirty))
    cases.append(backtest_case(60, 0.01, np.arange(60) == 30))
    cases.append(backtest_case(10, 0.05, np.ones(10, dtype=bool)))
    return cases


json.dump(
    {
        "meta": {
            "origin": f"QuantLib {ql.__version__}, numpy {np.__version__}, scipy {scipy.__version__}",
            "script": "measures.py",
        },
        "pnl": [pnl_case() for _ in range(40)],
        "simulation": [simulation_case(60, True), simulation_case(252, False), simulation_case(252, True)],
        "backtest": backtests(),
    },
    sys.stdout,
    indent=None,
    separators=(",", ":"),
)
print()
