"""A book for the rehearsal: made by arithmetic alone, so that it is the same everywhere.

Most portfolios are well. One has an unusable row, one holds nothing that has prices, one has no equity: the run is
partial, an alert is due, and the pages show every state.
"""
import csv
import datetime
import io

SYMBOLS = ["SPY", "AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG"]
SETTINGS = """\
[site]
title = "Rehearsal"

[schedule]
name = "nightly"
cron = "30 18 * * 1-5"
timezone = "America/New_York"
calendar = "nyse"

[factors]
Market = "SPY"
Value = "GGG"
"""


def weekdays(last, count):
    days = []
    day = last
    while len(days) < count:
        if day.weekday() < 5:
            days.append(day)
        day -= datetime.timedelta(days=1)
    return days[::-1]


def text(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def book(last, portfolios):
    """The files of a book whose prices end on `last`."""
    prices = [["date", "symbol", "close"]]
    for at, day in enumerate(weekdays(last, 130)):
        for n, symbol in enumerate(SYMBOLS):
            # A slow rise, a wave of its own for each symbol, and one they share.
            wave = ((at * (7 + 2 * n) + 13 * n) % 29 - 14) / 400 + ((at * 11) % 17 - 8) / 500
            prices.append([day.isoformat(), symbol, f"{(50 + 20 * n) * (1 + at / 900 + wave):.2f}"])
    names = [f"p{n:03}" for n in range(portfolios - 3)]
    owners = [["portfolio_id", "name", "equity"]] + [[name, f"Portfolio {name}", 250000 + 1000 * n] for n, name in enumerate(names)]
    owners += [["unusable", "Unusable row", 100000], ["unpriced", "No prices", 100000], ["unowned", "No equity", ""]]
    held = [["portfolio_id", "symbol", "quantity", "entry_price", "entry_date"]]
    for n, name in enumerate(names):
        for k in range(3 + n % 3):
            held.append([name, SYMBOLS[1 + (n + k) % (len(SYMBOLS) - 1)], (100 + 10 * n) * (-1 if (n + k) % 7 == 6 else 1), 60 + k, "2025-01-02"])
        if n % 4 == 0:
            held.append([name, f"AAA   {(last + datetime.timedelta(days=90)):%y%m%d}C00075000", 5, 4, "2025-01-02"])
    held += [["unusable", "AAA", "many", 60, "2025-01-02"], ["unpriced", "NONE", 10, 60, "2025-01-02"], ["unowned", "BBB", 10, 60, "2025-01-02"]]
    return {
        "nightbook.toml": SETTINGS.encode(),
        "portfolios.csv": text(owners),
        "positions.csv": text(held),
        "prices.csv": text(prices),
    }
