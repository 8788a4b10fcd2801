"""Models of commands from a run in which they were observed: what a request costs, how large messages are, who asks whom and when.

Processor time comes from accounting, its spread from service times of requests that nothing else disturbed, everything else from
what crossed the sockets. A request's size and its cost are taken to vary independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from estran.errors import EstranError, RequestError
from estran.observe.calibrate.batches import pause
from estran.observe.calibrate.fitting import spread
from estran.observe.nesting import Nesting, nest
from estran.observe.pacing import pacing
from estran.observe.queries import Run
from estran.observe.sightings import TOLERANCE, Exchanges, Sighting, sightings
from estran.observe.stories import Floats, Mask
from estran.spec.costs import FIXED, FREE, Amount, Call, CommandModel, Cost, Serving, Spread

LEAST: Final = 20
"""Exchanges below which a role of a command is not described."""
SLOT: Final = 0.5
"""Seconds over which processor time is compared with what was done: long against what a request takes."""
EXACT: Final = 0.1
"""Idle time counts where its standard error is below this share of all processor time, and half of itself."""
SELDOM: Final = 0.1
"""Share of requests with several calls below which these are taken to be calls of other requests, of which they cannot be told."""
NEGLIGIBLE: Final = 0.2e-3
"""Seconds of waiting per request that are not worth a model: below what an emulated link is exact to."""
_PHASES: Final = 512


def observed_models(run: Run) -> dict[str, CommandModel]:
    """Describe every command service of a run whose model is not declared.

    Parameters
    ----------
    run
        Finished, with exchanges and processor time recorded.

    Returns
    -------
    dict
        Models by service; ``source`` names the run and says what could not be told.

    Raises
    ------
    RequestError
        If a service exchanged too little within the measured window, or what was seen contradicts itself
        (see `estran.observe.sightings.sightings`).
    """
    seen = sightings(run)
    return {service: _Fit(run, service, seen[service]).model() for service in sorted(seen.keys() - declared(run))}


def declared(run: Run) -> set[str]:
    """Services whose model is in the experiment file.

    Raises
    ------
    EstranError
        If the run's resolved description is damaged.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = run.folder / "experiment.yaml"
    if not path.exists():
        return set()
    try:
        services = YAML(typ="safe").load(path)["services"]
        return {name for name, entry in services.items() if entry.get("model")}
    except (YAMLError, AttributeError, KeyError, TypeError) as error:
        raise EstranError("this is no resolved description", where=str(path), remedy="run the experiment again") from error


@dataclass(frozen=True, slots=True)
class _Processor:
    """Processor seconds per second when idle, and per unit of work."""

    idle: float
    each: float


class _Fit:
    """One service, all of its replicas together."""

    def __init__(self, run: Run, service: str, group: Sequence[Sighting]) -> None:
        self._run = run
        self._service = service
        self._group = group
        self._nestings = [nest(seen.served, seen.asked) for seen in group]
        self._notes: list[str] = []
        self._served = sum(len(nesting.served) for nesting in self._nestings)
        self._own = [seen.asked.select(nesting.parents < 0) for seen, nesting in zip(group, self._nestings, strict=True)]
        begin, end = group[0].window
        self._seconds = end - begin

    def model(self) -> CommandModel:
        own = self._targets(self._own)
        if self._served < LEAST and not own:
            most = max(self._served, sum(map(len, self._own)))
            raise RequestError(
                f"only {most} exchanges of {self._service} were observed, and {LEAST} are needed to describe it",
                where=str(self._run.folder),
                remedy="measure for longer, or declare what it does with model: in the experiment file",
            )
        processor = self._processor()
        serving = self._serving(processor) if self._served >= LEAST else None
        cost = 0.0 if serving is not None else processor.each
        calls = tuple(call for target in own for call in self._calls(target, cost))
        source = "; ".join([f"observed in run {self._run.status.id}", *self._notes])
        return CommandModel(serving, calls, processor.idle, source)

    def _targets(self, asked: Sequence[Exchanges]) -> list[str]:
        """Services that are asked often enough to be described."""
        names = np.concatenate([exchanges.peer for exchanges in asked]).astype(str)
        counts = dict(zip(*(column.tolist() for column in np.unique(names[names != ""], return_counts=True)), strict=True))
        rare = {name: count for name, count in counts.items() if count < LEAST}
        if sum(rare.values()) > TOLERANCE * (len(names) + self._served) and len(rare) < len(counts):
            raise RequestError(
                f"{self._service} asked {', '.join(rare)} only {sum(rare.values())} times, and {LEAST} are needed to describe it",
                where=str(self._run.folder), remedy="measure for longer",
            )  # fmt: skip
        if rare and len(rare) < len(counts):
            self._notes.append(f"{sum(rare.values())} requests to {', '.join(rare)} are left out")
        return [name for name in counts if name not in rare]

    def _processor(self) -> _Processor:
        """Idle time by regression on exchanges, where it is significant; what was used besides is divided by what was done."""
        table = np.concatenate([self._slots(*each) for each in zip(self._group, self._nestings, self._own, strict=True)])
        seconds, done, used = table.sum(axis=0).tolist()
        idle, error = _intercept(table)
        if error > EXACT * used / seconds:
            self._notes.append("it was too evenly busy to tell what it uses when idle: all is put down to exchanges")
        if error > EXACT * used / seconds or idle < 2 * error:
            idle = 0.0
        idle = min(idle, used / seconds)
        return _Processor(idle, (used - idle * seconds) / done)

    def _slots(self, seen: Sighting, nesting: Nesting, own: Exchanges) -> Floats:
        """Seconds, exchanges and processor seconds between readings of the processor time; shape (n, 3)."""
        begin, end = seen.window
        inside = (seen.times >= begin) & (seen.times <= end)
        times, read = seen.times[inside], seen.seconds[inside]
        if len(times) < 2:
            raise RequestError(f"the processor time of {seen.replica} was not recorded", where=str(self._run.folder))
        chosen = np.unique(np.searchsorted(times, np.arange(times[0], times[-1], SLOT)))
        edges = times[chosen]
        work = nesting.done(edges) if self._served >= LEAST else np.searchsorted(np.sort(own.begun), edges)
        return np.column_stack([np.diff(edges), np.diff(work), np.diff(read[chosen])])

    def _serving(self, processor: _Processor) -> Serving:
        speed = self._group[0].speed
        alone = np.concatenate([nesting.undisturbed() for nesting in self._nestings])
        cost, wait = Cost(processor.each), FREE
        if len(alone) >= LEAST:
            cost, wait = _split(alone, processor.each, speed)
        else:
            self._notes.append(
                f"only {len(alone)} of {self._served} requests were served undisturbed: how their cost varies is unknown"
            )
        answers = np.concatenate([nesting.served.answer_bytes for nesting in self._nestings])
        return Serving(cost, _amount(answers), tuple(self._inner()), wait)

    def _inner(self) -> list[Call]:
        """Calls made while serving, per target."""
        nested = [seen.asked.select(n.parents >= 0) for seen, n in zip(self._group, self._nestings, strict=True)]
        found = []
        for target in self._targets(nested):
            mine = [exchanges.select(exchanges.peer == target) for exchanges in nested]
            count = sum(map(len, mine)) / self._served
            together = np.concatenate([n.together(seen.asked, target) for seen, n in zip(self._group, self._nestings, strict=True)])
            side_by_side = len(together) >= SELDOM * self._served and float(together.mean()) >= 0.5
            found.append(Call(target, _sizes(mine), FREE, not side_by_side, count, FREE, _connects(mine)))
        return found

    def _calls(self, target: str, cost: float) -> list[Call]:
        """Calls of its own accord: one loop each."""
        mine = [exchanges.select(exchanges.peer == target) for exchanges in self._own]
        clients = [exchanges for exchanges in mine if len(exchanges)]
        found = pacing(clients, self._seconds)
        gaps = found.pauses
        if found.waits:
            gaps = np.maximum(gaps - cost / self._group[0].speed, 0.0)
        if len(gaps) < LEAST / 2:
            raise RequestError(
                f"{self._service} asked {target} too seldom for its pace to be told",
                where=str(self._run.folder), remedy="measure for longer",
            )  # fmt: skip
        call = Call(
            target, _sizes(mine), Cost(float(gaps.mean()), spread=spread(gaps)), found.waits, 1.0, Cost(cost), _connects(mine)
        )
        return [call] * found.loops


def _intercept(table: Floats) -> tuple[float, float]:
    """Processor seconds per second without exchanges, by least squares, and its standard error."""
    columns, used = table[:, :2], table[:, 2]
    if len(table) < 3 or np.linalg.matrix_rank(columns) < 2:
        return 0.0, float("inf")
    found, left, _, _ = np.linalg.lstsq(columns, used, rcond=None)
    inverse = np.linalg.pinv(columns.T @ columns)
    return float(found[0]), float(np.sqrt(inverse[0, 0] * left.sum() / (len(table) - 2)))


def _split(alone: Floats, each: float, speed: float) -> tuple[Cost, Cost]:
    """Undisturbed service times as processor time, which is known on the average, and waiting, which is the rest."""
    fixed = stretched(each, speed)
    wait = max(0.0, float(alone.mean() - fixed.mean()))
    wait = 0.0 if wait < NEGLIGIBLE else wait
    if wait > float(fixed.mean()):
        return Cost(each), Cost(wait, spread=spread(np.maximum(alone - fixed.mean(), 0.0)))
    rest = np.maximum(alone - wait, 0.0)
    return Cost(each, spread=_narrowed(rest, fixed)), Cost(wait)


def _narrowed(times: Floats, fixed: Floats) -> Spread:
    """Spread of processor time: that of service times, less what they would vary if all requests cost the same."""
    total = float(np.var(times))
    if not total > float(np.var(fixed)):
        return FIXED
    share = np.sqrt(1 - float(np.var(fixed)) / total)
    mean = float(times.mean())
    return spread(np.maximum(mean + share * (times - mean), 0.0))


def stretched(cost: float, speed: float) -> Floats:
    """How long work takes on an emulated core of a speed, by when in a period of its share it begins; shape (m,).

    Parameters
    ----------
    cost
        Processor seconds.
    """
    held = pause(speed)
    if not held:
        return np.full(1, cost)
    quota = held * speed / (1 - speed)
    period = quota + held
    left_in_period = period * (1 - (np.arange(_PHASES) + 0.5) / _PHASES)
    first = np.minimum(quota, left_in_period)
    rest = np.maximum(cost - first, 0.0)
    whole = np.maximum(np.ceil(rest / quota - 1e-9) - 1, 0.0)
    found: Floats = np.where(rest > 1e-12, left_in_period + whole * period + (rest - whole * quota), cost)
    return found


def _amount(values: ArrayLike) -> Amount:
    sizes = np.asarray(values, dtype=np.float64)
    return Amount(float(sizes.mean()), spread(sizes))


def _sizes(parts: Sequence[Exchanges]) -> Amount:
    return _amount(np.concatenate([exchanges.request_bytes for exchanges in parts]))


def _connects(parts: Sequence[Exchanges]) -> float:
    fresh: list[Mask] = [(exchanges.number == 0) & np.isfinite(exchanges.opened) for exchanges in parts]
    return float(np.concatenate(fresh).mean())
