"""The calculations of one portfolio in vectorised numpy, timed: the peer that tests/bench names.

Arguments: a file of closes (float64, factors first, one row each), how many factors, how many symbols, how many of the
symbols stand for options. Prints one JSON object: the median time and the figures, which the caller compares with its own.
"""

import json
import sys
import time

import numpy as np
from scipy.special import ndtr

EQUITY = 5e6
MIN_OBS = 60
MIN_OVERLAP = 30


def returns_of(closes):
    return closes[:, 1:] / closes[:, :-1] - 1.0


def filled(closes):
    """Each row's last close that is there."""
    present = ~np.isnan(closes)
    last = closes.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
    return closes[np.arange(len(closes)), last]


def univariate(mask, y, x):
    """Slopes, r2 and standard errors of every row of y on every row of x, over the days that y has."""
    n = mask.sum(axis=1, keepdims=True)
    sx, sy = mask @ x.T, y.sum(axis=1, keepdims=True)
    sxx, sxy, syy = mask @ (x * x).T, y @ x.T, (y * y).sum(axis=1, keepdims=True)
    cxx, cxy, cyy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
    beta = cxy / cxx
    r2 = cxy * cxy / (cxx * cyy)
    error = np.sqrt((cyy - beta * cxy) / (n - 2) / cxx)
    return np.where(n >= MIN_OBS, beta, 0.0), r2, error


def multivariate(mask, y, x):
    """Slopes, r2, standard errors and variance inflation of every row of y on all rows of x together."""
    design = np.vstack([np.ones(x.shape[1]), x])
    k = len(design)
    outer = (design[:, None, :] * design[None, :, :]).reshape(k * k, -1)
    gram = (mask @ outer.T).reshape(-1, k, k)
    right = y @ design.T
    inverse = np.linalg.inv(gram)
    slopes = np.einsum("sij,sj->si", inverse, right)
    n = mask.sum(axis=1)
    syy = (y * y).sum(axis=1)
    rss = syy - np.einsum("si,si->s", slopes, right)
    tss = syy - y.sum(axis=1) ** 2 / n
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    error = np.sqrt(diagonal * (rss / (n - k))[:, None])
    spread = np.diagonal(gram, axis1=1, axis2=2) - gram[:, 0, :] ** 2 / n[:, None]
    vif = diagonal[:, 1:] * spread[:, 1:]
    return np.where(n[:, None] >= MIN_OBS, slopes[:, 1:], 0.0), 1.0 - rss / tss, error, vif


def scenarios():
    return [[(f, -0.1 - 0.02 * s) for f in range(s % 5 + 1)] for s in range(18)]


def shocks(factors):
    """Direct and conditional moves of all factors, for each scenario."""
    centred = factors - factors.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T
    moves = []
    for scenario in scenarios():
        named = [f for f, _ in scenario]
        values = np.array([value for _, value in scenario])
        direct = np.zeros(len(factors))
        direct[named] = values
        given = covariance[:, named] @ np.linalg.solve(covariance[np.ix_(named, named)], values)
        given[named] = values
        moves += [direct, given]
    return np.array(moves)


def greeks(spot, call, strike=105.0, years=0.3, rate=0.05, volatility=0.25):
    root = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + volatility**2 / 2) * years) / root
    d2 = d1 - root
    sign = np.where(call, 1.0, -1.0)
    density = np.exp(-d1 * d1 / 2) / np.sqrt(2 * np.pi)
    discount = np.exp(-rate * years)
    price = sign * (spot * ndtr(sign * d1) - strike * discount * ndtr(sign * d2))
    delta = sign * ndtr(sign * d1)
    gamma = density / (spot * root)
    theta = (-spot * density * volatility / (2 * np.sqrt(years)) - sign * rate * strike * discount * ndtr(sign * d2)) / 365
    vega = spot * density * np.sqrt(years) / 100
    rho = sign * strike * years * discount * ndtr(sign * d2) / 100
    return price, delta, gamma, theta, vega, rho


def correlations(mask, y):
    n = mask @ mask.T
    sx = y @ mask.T
    sxx = (y * y) @ mask.T
    cxy = y @ y.T - sx * sx.T / n
    cxx = sxx - sx * sx / n
    return np.where(n >= MIN_OVERLAP, cxy / np.sqrt(cxx * cxx.T), np.nan)


def portfolio(closes, factors, options):
    market, symbols = closes[:factors], closes[factors:]
    f, r = returns_of(market), returns_of(symbols)
    mask = (~np.isnan(r)).astype(float)
    y = np.where(np.isnan(r), 0.0, r)
    price, previous = filled(symbols), filled(symbols[:, :-1])
    at = np.arange(len(symbols))
    quantity = np.where(at % 5 == 4, -300.0, 400.0)
    values = greeks(price[:options], at[:options] % 2 == 0)
    exposure = quantity * price
    exposure[:options] *= values[1]
    beta, _, _ = univariate(mask, y, f)
    slopes, _, _, _ = multivariate(mask, y, f)
    moves = exposure @ np.clip(beta, -3.0, 3.0) * -0.1
    stress = shocks(f) @ (exposure @ slopes)
    day = (quantity * (price - previous)).sum()
    history = exposure @ y / EQUITY
    ordered = np.sort(history)
    var_95, _ = np.quantile(history, [0.05, 0.01])
    es_95 = ordered[: int(np.floor((len(history) - 1) * 0.05)) + 1].mean()
    value = np.cumprod(1.0 + history)
    (value / np.maximum(np.maximum.accumulate(value), 1.0) - 1.0).min()
    correlations(mask[options:], y[options:])
    return {
        "results": [*moves, *stress, day],
        "var_95": var_95,
        "es_95": es_95,
        "volatility": history.std(ddof=1) * np.sqrt(252),
        "deltas": values[1].sum(),
    }


def main():
    path, factors, symbols, options = sys.argv[1], *map(int, sys.argv[2:])
    closes = np.fromfile(path, dtype="<f8").reshape(factors + symbols, -1)
    times = []
    for _ in range(210):
        began = time.perf_counter()
        figures = portfolio(closes, factors, options)
        times.append(time.perf_counter() - began)
    print(json.dumps({"seconds": float(np.median(times[10:])), **figures}))


main()
