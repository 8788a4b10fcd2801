"""Writes market.npz: 146 days of a made-up electricity market, half an hour a row, with the columns of the Elec2 data.

    python market.py

Demand has its daily and weekly course, and weather; the price is steep where demand is high. On day 73 the line to the neighbouring
state opens, as it did in Elec2: from then on its cheaper power flows where prices are high, and solar power bends the noon down.
A row's class is whether the price is above its mean over the last 24 hours (1) or not (0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAYS, HALF_HOURS = 146, 48
OPENS = DAYS // 2 * HALF_HOURS
Series = NDArray[np.float64]


def weather(rows: int, rng: np.random.Generator) -> Series:
    """A slow random course around zero."""
    course = np.zeros(rows)
    for i in range(1, rows):
        course[i] = 0.98 * course[i - 1] + 0.2 * rng.normal()
    return course


def demand(hour: Series, weekday: Series, rng: np.random.Generator) -> Series:
    """In GW: low at night, peaks in the morning and in the evening, less on weekends."""
    peaks = (
        np.exp(-(((hour - 8) / 2.0) ** 2)) + 1.4 * np.exp(-(((hour - 18.5) / 2.5) ** 2)) + 0.6 * np.exp(-(((hour - 13) / 4) ** 2))
    )
    return 6.0 + 2.0 * peaks - 0.8 * (weekday >= 5) + 0.15 * weather(len(hour), rng)


def market(rng: np.random.Generator) -> tuple[Series, NDArray[np.int64]]:
    """Rows (day of the week, half hour, price, demand, the neighbour's price and demand, transfer), and classes."""
    rows = (DAYS + 1) * HALF_HOURS
    time = np.arange(rows)
    hour, weekday, opened = time % HALF_HOURS / 2, time // HALF_HOURS % 7, time >= OPENS + HALF_HOURS
    ours, theirs = demand(hour, weekday, rng), demand(hour + 0.5, weekday, rng) * 0.7
    solar = opened * 3.0 * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None) * np.clip(1 + 0.3 * weather(rows, rng), 0, None)
    their_price = 18 + 2.5 * np.exp(0.55 * (theirs - 5.5)) + 0.3 * rng.normal(size=rows)
    our_price = 20 + 3.0 * np.exp(0.6 * (ours - solar - 8)) + 0.3 * rng.normal(size=rows)
    transfer = opened * np.clip(0.05 * (our_price - their_price), -0.6, 0.6)
    price = our_price - 12 * transfer
    mean = np.convolve(price, np.ones(HALF_HOURS) / HALF_HOURS, "full")[HALF_HOURS - 1 : rows - 1]
    seen = np.where(opened, their_price, their_price.mean()), np.where(opened, theirs, theirs.mean())
    columns = np.column_stack([weekday, hour, np.roll(price, 1), ours, *seen, np.roll(transfer, 1)])[HALF_HOURS:]
    return columns, (price[HALF_HOURS:] > mean).astype(np.int64)


if __name__ == "__main__":
    x, y = market(np.random.default_rng(1996))
    np.savez_compressed(Path(__file__).with_name("market.npz"), x=x.round(2).astype(np.float32), y=y.astype(np.int8))
