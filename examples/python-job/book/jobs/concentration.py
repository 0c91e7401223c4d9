#!/usr/bin/env python3
"""A job of one's own: how concentrated a portfolio is, and how long its largest position takes to sell.

Reads the question of docs/jobs.md on stdin and answers on stdout. Nothing but the standard library is needed.
"""

import json
import sys

# What is assumed to be traded of a position in a day, as a share of the portfolio.
SOLD_A_DAY = 0.05


def last_close(closes):
    """The newest close, or None where there is none."""
    return next((close for close in reversed(closes) if close is not None), None)


def main():
    asked = json.load(sys.stdin)
    values, missing = {}, []
    for position in asked["portfolio"]["positions"]:
        close = last_close(asked["closes"].get(position["symbol"], []))
        if close is None:
            missing.append(position["symbol"])
            continue
        values[position["symbol"]] = abs(position["quantity"] * position["multiplier"] * close)

    gross = sum(values.values())
    if gross == 0:
        # An answer, not a crash: the record then says so in these words, and the job is not tried again.
        json.dump({"status": "failed", "message": "no position has a price"}, sys.stdout)
        return

    weights = {symbol: value / gross for symbol, value in values.items()}
    top = max(weights, key=weights.get)
    json.dump(
        {
            "version": 1,
            "status": "success",
            "records_processed": len(values),
            "result": {
                "weights": weights,
                "herfindahl": sum(weight * weight for weight in weights.values()),
                "days_to_sell_largest": weights[top] / SOLD_A_DAY,
            },
            "metadata": {"largest": top, "largest_weight": round(weights[top], 4)},
            "quality": {
                "flag": "limited" if missing else "full",
                "positions_processed": len(values),
                "positions_total": len(values) + len(missing),
                "symbols_missing": missing,
            },
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
