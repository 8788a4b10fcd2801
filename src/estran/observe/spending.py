"""Where the time of one run's messages went: the mean message, and the one at the 99th percentile, split into stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from estran.errors import EstranError
from estran.observe.queries import Run
from estran.observe.responses import measured_window, ways_end
from estran.observe.stories import Floats, Integers, Stories, duplicates, load, stages_by_link

TAIL: Final = 0.99
WINDOW: Final = 0.01
"""The share of all messages, those next to the 99th percentile, that tell what it is made of."""
LEAST: Final = 10
"""As many tell it at the least, where there are so many."""


class Spending(msgspec.Struct, frozen=True):
    """Stages of one run's messages.

    Attributes
    ----------
    messages
        How many there were; with none, all else is zero or empty.
    latency, p99
        Seconds from creation to the end of the way: the mean, and the 99th percentile.
    mean, tail
        Seconds by stage: of the mean message, and of one at the 99th percentile. They sum to ``latency`` and ``p99``.
    """

    messages: int
    latency: float
    p99: float
    mean: dict[str, float]
    tail: dict[str, float]


def spending(run: Run) -> Spending:
    """Read where the time went in a finished run.

    Raises
    ------
    EstranError
        If the run folder has no messages or no plan, or one of them is damaged.
    """
    import duckdb

    for name in ("messages.parquet", "plan.json"):
        if not (run.folder / name).exists() and not run.live:
            raise EstranError(f"{name} is missing", where=str(run.folder), remedy="make the run anew: estran resume")
    services, hosts = {replica: service for replica, (service, _) in run.replicas.items()}, _hosts(run)
    try:
        with run.database() as connection:
            window = measured_window(run, connection)
            stories = load(connection)
    except duckdb.Error as error:
        raise EstranError(f"its messages cannot be read: {error}", where=str(run.folder), remedy="the file is damaged") from error
    return spent(stories, window, services, hosts)


def spent(
    stories: Stories, window: tuple[float, float], services: Mapping[str, str], hosts: Mapping[str, tuple[str, str]]
) -> Spending:
    """Split the time of messages that were created in a window.

    Parameters
    ----------
    services
        Service of every replica.
    hosts
        Host and layer of every replica.
    """
    stories = stories.select(~duplicates(stories))
    ends = np.flatnonzero((stories.created >= window[0]) & (stories.created < window[1]) & ways_end(stories))
    if not len(ends):
        return Spending(0, 0.0, 0.0, {}, {})
    latency = stories.done[ends] - stories.created[ends]
    parts = stages_by_link(stories, ends, services, hosts)
    p99, tail = at_quantile(latency, parts)
    return Spending(len(ends), float(latency.mean()), p99, {name: float(seconds.mean()) for name, seconds in parts.items()}, tail)


def at_quantile(latency: Floats, parts: Mapping[str, Floats], level: float = TAIL) -> tuple[float, dict[str, float]]:
    """A quantile of latency, and what a message of that latency is made of.

    That is the conditional expectation of each stage given that the latency is the quantile, E[stage | latency = q], estimated by
    the mean over the messages next to the quantile in rank (`WINDOW` of them all, `LEAST` at the least) and scaled to sum to it.

    Returns
    -------
    tuple
        The quantile, and seconds by stage.
    """
    value = float(np.quantile(latency, level))
    near = _near(latency, level)
    means = {name: float(seconds[near].mean()) for name, seconds in parts.items()}
    total = math.fsum(means.values())
    scale = value / total if total > 0 else 0.0
    return value, {name: mean * scale for name, mean in means.items()}


def _near(latency: Floats, level: float) -> Integers:
    """Rows of the ranks around a quantile: as many above as below it where there are, else the more below."""
    order = np.argsort(latency, kind="stable")
    count = min(len(order), max(LEAST, round(WINDOW * len(order))))
    first = round(level * (len(order) - 1) - (count - 1) / 2)
    first = min(max(first, 0), len(order) - count)
    return order[first : first + count]


def _hosts(run: Run) -> dict[str, tuple[str, str]]:
    """Host and layer of every planned replica."""
    plan = run.document("plan") or {}
    try:
        layers = {host["name"]: str(host["layer"]) for host in plan.get("hosts", [])}
        return {replica: (host, layers[host]) for replica, (_, host) in run.replicas.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise EstranError("this is no plan of a run", where=str(run.folder / "plan.json")) from error
