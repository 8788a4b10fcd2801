"""What somebody who watches should know at once: services that restart, links out of tolerance, overload, divergence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from estran.report.network import cpus, links
from estran.run.hand import BY_HAND
from estran.web.answers import HITS, JUDGED, WINDOW
from estran.web.following import Shown
from estran.web.series import trailing

BUSY: Final = 0.95
"""A share of its processor that a host uses on the average of `WINDOW` seconds, from which on it is called overloaded."""
WAIT: Final = 0.5
"""Seconds in a queue from which on a consumer is called overloaded, if they grow."""
FALL: Final = 0.2
"""A fall of the accuracy (of 500 answers) below its best, from which on it is told."""
MOST: Final = 30


@dataclass(frozen=True)
class Alert:
    """One thing to know; ``kind`` names it for machines, ``level`` is ``bad`` or ``warn``, ``time`` is of the run's clock."""

    kind: str
    level: str
    what: str
    time: float | None = None


def alerts(run: Shown) -> list[Alert]:
    """All that holds of a run now, what is worst first."""
    found = [*_failure(run), *_network(run), *_services(run), *_divergence(run), *_faults(run)]
    if not run.whole:
        found += [*_overload(run), *_silence(run)]
    return sorted(found, key=lambda alert: alert.level)[:MOST]


def _failure(run: Shown) -> Iterator[Alert]:
    failure = run.folder.failure
    if failure is not None:
        yield Alert("failed", "bad", f"failed in {failure.get('phase')}: {failure.get('what')}")


def _network(run: Shown) -> Iterator[Alert]:
    for link in links(run.folder):
        if link.ok is False:
            yield Alert("link", "bad", f"link {link.source} → {link.target} is out of tolerance: {link.complaint}")
    for share in cpus(run.folder):
        if not share.ok:
            yield Alert("processor", "bad", f"processor of {share.host} is out of tolerance: {share.complaint}")


def _services(run: Shown) -> Iterator[Alert]:
    happenings = run.facts.happenings
    for name, replica in happenings.replicas.items():
        if replica.restarts:
            times = [event["time"] for event in happenings.events if event["replica"] == name and event["event"] == "restarted"]
            often = "once" if replica.restarts == 1 else f"{replica.restarts} times"
            yield Alert("restarted", "warn", f"{name} was restarted {often}", times[-1] if times else None)
        if replica.errors:
            yield Alert("error", "warn", f"{name}: {replica.errors} error{'s' if replica.errors > 1 else ''}")


def _divergence(run: Shown) -> Iterator[Alert]:
    happenings = run.facts.happenings
    for event in happenings.events:
        if event["event"] == "diverged":
            yield Alert("diverged", "bad", f"{event['replica']} diverged: {event['detail']}", event["time"])
        elif event["event"] == "refused":
            yield Alert("refused", "warn", f"{event['replica']} refused a model: {event['detail']}", event["time"])
    for (metric, replica), time in happenings.wrong.items():
        yield Alert("diverged", "bad", f"{metric} of {replica} is no finite number", time)
    counts = run.facts.answers.counts.sums
    judged = counts[:, JUDGED].cumsum()
    if len(judged) and judged[-1] >= 1000:
        accuracy = trailing(counts[:, JUDGED], counts[:, HITS], 500)[judged >= 500]
        best, now = float(np.nanmax(accuracy)), float(accuracy[-1])
        if now < best - FALL:
            yield Alert("accuracy", "warn", f"accuracy fell from {best:.0%} to {now:.0%}", run.facts.newest)


def _faults(run: Shown) -> Iterator[Alert]:
    """Faults that are on; of a run that is over, those that somebody started by hand."""
    for fault in run.facts.happenings.faults.values():
        by_hand = fault.key.startswith(BY_HAND)
        if fault.ended is None and not run.whole:
            yield Alert("fault", "warn", f"fault {fault.key}{' (by hand)' if by_hand else ''}: {fault}", fault.begun)
        elif by_hand:
            yield Alert("touched", "warn", f"touched by hand: {fault}", fault.begun)


def _silence(run: Shown) -> Iterator[Alert]:
    """Streams on which something came, and nothing does any more though their producer runs."""
    newest, states = run.facts.newest, run.facts.happenings.replicas
    for (stream, producer, consumer), seconds in run.facts.traffic.silent(newest).items():
        known = states.get(producer)
        if known is None or known.state != "ended":
            yield Alert(
                "silence", "warn", f"nothing of {stream} from {producer} has reached {consumer} for {seconds:.0f} s", newest
            )


def _overload(run: Shown) -> Iterator[Alert]:
    newest, capacities = run.facts.newest, run.run.capacities
    for host, capacity in capacities.items():
        used = run.facts.machines.now("cpu_seconds", host, newest, WINDOW)
        if used is not None and newest > WINDOW and used >= BUSY * capacity:
            yield Alert("overload", "warn", f"{host} uses {used / capacity:.0%} of its processor", newest)
    for name, (now, before) in run.facts.traffic.waits(newest).items():
        if now >= WAIT and now > before:
            yield Alert("overload", "warn", f"{name} falls behind: messages wait {now:.1f} s for it", newest)
