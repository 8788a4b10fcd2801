"""Where the time goes: the stages of messages' ways at each level of each factor, and which stages a difference is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import EstranError
from estran.explain.linear import coded
from estran.explain.model import Matrix, Term, build
from estran.explain.table import Table
from estran.observe.queries import open_run
from estran.observe.spending import Spending, spending

RESAMPLES: Final = 2000
NAMED: Final = 3
"""Runs that cannot be read and are named; the others are counted."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Profile:
    """Where the time of messages went at one level, all other factors averaged over; or over all runs.

    Attributes
    ----------
    level
        Empty over all.
    latency, p99
        Seconds: means over runs, of which each counts once.
    mean, tail
        Seconds by stage: of the mean message, and of one at the 99th percentile. They sum to ``latency`` and ``p99``.
    """

    level: str
    runs: int
    messages: int
    latency: float
    p99: float
    mean: Mapping[str, float]
    tail: Mapping[str, float]


@dataclass(frozen=True)
class Change:
    """What a difference between two levels of a factor is made of.

    Attributes
    ----------
    mean, tail
        Change of the mean latency and of its 99th percentile from ``low`` to ``high``, seconds.
    mean_ci95, tail_ci95
        Of these; None where the runs leave nothing to judge by.
    mean_stages, tail_stages
        The same by stage; they sum to ``mean`` and ``tail``.
    mean_shares, tail_shares
        Of each stage in the change, summing to 1; empty where the change cannot be told from none.
    """

    factor: str
    low: str
    high: str
    mean: float
    tail: float
    mean_ci95: Interval | None
    tail_ci95: Interval | None
    mean_stages: Mapping[str, float]
    tail_stages: Mapping[str, float]
    mean_shares: Mapping[str, float]
    tail_shares: Mapping[str, float]
    mean_shares_ci95: Mapping[str, Interval]
    tail_shares_ci95: Mapping[str, Interval]


@dataclass(frozen=True)
class Paths:
    """Where the time of a study's messages went.

    Attributes
    ----------
    overall
        Over all runs that could be read; with none, all of it is zero.
    factors
        A profile for each level, in the table's order; of a factor with many only for the least and the greatest.
    changes
        From each factor's first level to each other one.
    """

    overall: Profile
    factors: Mapping[str, tuple[Profile, ...]]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def paths(table: Table, rng: np.random.Generator) -> Paths | None:
    """Tell where the time of messages went, from the folders of a study's finished runs.

    Parameters
    ----------
    rng
        Source of resamples.

    Returns
    -------
    Paths or None
        None where the runs recorded no messages: cost models alone.
    """
    found: list[Spending | None] = []
    unread: list[str] = []
    for row, done in zip(table.folder.rows, table.done, strict=True):
        found.append(None)
        if not done:
            continue
        try:
            folder = table.folder.outcome(row)
            if folder.status != "done" or folder.folder is None:
                raise EstranError("its folder is missing or damaged")  # noqa: TRY301 counted with the others
            found[-1] = spending(open_run(folder.folder))
        except EstranError as error:
            unread.append(f"run {row.run}: {error}")
    return profiled(table, found, unread, rng)


def profiled(table: Table, found: Sequence[Spending | None], unread: Sequence[str], rng: np.random.Generator) -> Paths | None:
    """What `paths` tells, from what each run's messages spent.

    Parameters
    ----------
    found
        Of each row of the table, or None.
    unread
        Why some finished runs could not be read.
    """
    rows = np.array([one is not None and one.messages > 0 for one in found], dtype=np.bool_)
    spent = [one for one in found if one is not None and one.messages]
    notes = list(_lost(table, rows, unread))
    if not spent:
        nothing = Profile("", 0, 0, 0.0, 0.0, {}, {})
        return Paths(nothing, {}, (), tuple(notes)) if unread else None
    stages = sorted({stage for one in spent for stage in one.mean})
    data = np.array([[*_values(one.mean, stages), *_values(one.tail, stages)] for one in spent])
    messages = np.array([one.messages for one in spent], dtype=np.int64)
    overall = _profile("", data.mean(axis=0), stages, messages)
    codes, codings = coded(table, rows)
    if not codes:
        return Paths(overall, {}, (), tuple(notes))
    study = _Study(table, rows, data, stages, messages, codes, codings)
    factors = {term.factors[0]: study.profiles(term) for term in study.mains}
    changes = [change for term in study.mains for change in study.changes(term, rng)]
    return Paths(overall, factors, tuple(changes), (*notes, *study.notes()))


def _lost(table: Table, rows: NDArray[np.bool_], unread: Sequence[str]) -> list[str]:
    """Runs of the design that do not count, and why."""
    failed = int((~table.done).sum())
    silent = int(table.done.sum()) - int(rows.sum()) - len(unread)
    notes = [f"{failed} of {table.runs} runs of the design were not done."] if failed else []
    notes += [f"{silent} finished runs processed no message in the measured window."] if silent else []
    if unread:
        more = f"; and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
        told = "; ".join(" ".join(text.split()) for text in unread[:NAMED])
        notes.append(f"{len(unread)} of the finished runs cannot be read and do not count here: {told}{more}.")
    return notes


def _values(stages: Mapping[str, float], names: Sequence[str]) -> list[float]:
    return [stages.get(name, 0.0) for name in names]


def _profile(level: str, values: Matrix, stages: Sequence[str], messages: NDArray[np.int64]) -> Profile:
    mean, tail = values[: len(stages)].tolist(), values[len(stages) :].tolist()
    return Profile(
        level,
        len(messages),
        int(messages.sum()),
        math.fsum(mean),
        math.fsum(tail),
        dict(zip(stages, mean, strict=True)),
        dict(zip(stages, tail, strict=True)),
    )


class _Study:
    """The linear model of `estran.explain.model`, fitted to all stages at once.

    Its estimates are linear in what each run spent, so that the stages of a level sum to its latency in any design. What other
    factors and blocks do is averaged over evenly (least-squares means).
    """

    def __init__(
        self,
        table: Table,
        rows: NDArray[np.bool_],
        data: Matrix,
        stages: Sequence[str],
        messages: NDArray[np.int64],
        codes: Mapping[str, NDArray[np.int64]],
        codings: Mapping[str, Matrix],
    ) -> None:
        self._table, self._data, self._stages, self._messages, self._codes = table, data, stages, messages, codes
        self._names = {name: [table.levels[name][code] for code in np.unique(table.codes[name][rows])] for name in codes}
        self._model = build(codes, table.blocks[rows], codings)
        self.mains = [term for term in self._model.terms if len(term.factors) == 1]
        matrix = self._model.matrix()
        self._freedom = len(data) - matrix.shape[1]
        self._solver = np.linalg.pinv(matrix)  # rows of weights: what each run adds to each coefficient
        leverage = np.einsum("ij,ji->i", matrix, self._solver)
        self._errors = (data - matrix @ (self._solver @ data)) / np.maximum(1 - leverage, 1e-6)[:, None]

    def _levels(self, term: Term) -> list[int]:
        """Levels that are told: all, or both ends of a numeric factor with so many that it is a parabola."""
        count = len(term.contrasts)
        if term.columns.shape[1] == count - 1:
            return list(range(count))
        return [int(np.argmin(term.contrasts[:, 0])), int(np.argmax(term.contrasts[:, 0]))]

    def _weights(self, term: Term, contrast: Matrix, *, intercept: float) -> Matrix:
        """How much each run counts in an estimate."""
        wanted = np.zeros(len(self._solver))
        wanted[0], wanted[self._model.place(term)] = intercept, contrast
        return np.asarray(wanted @ self._solver)

    def profiles(self, term: Term) -> tuple[Profile, ...]:
        """Of each level of a factor."""
        name = term.factors[0]
        return tuple(
            _profile(
                self._names[name][level],
                self._weights(term, term.contrasts[level], intercept=1.0) @ self._data,
                self._stages,
                self._messages[self._codes[name] == level],
            )
            for level in self._levels(term)
        )

    def changes(self, term: Term, rng: np.random.Generator) -> list[Change]:
        """From the first level to each other one."""
        first, *others = self._levels(term)
        return [self._change(term, first, other, rng) for other in others]

    def _change(self, term: Term, low: int, high: int, rng: np.random.Generator) -> Change:
        weights = self._weights(term, term.contrasts[high] - term.contrasts[low], intercept=0.0)
        change, drawn = weights @ self._data, self._resampled(weights, rng)
        count, name = len(self._stages), term.factors[0]
        size = float(self._data.sum(axis=1).mean())
        mean, mean_ci, mean_shares, mean_shares_ci = self._shared(change[:count], drawn and drawn[0], size)
        tail, tail_ci, tail_shares, tail_shares_ci = self._shared(change[count:], drawn and drawn[1], size)
        return Change(
            name,
            self._names[name][low],
            self._names[name][high],
            mean,
            tail,
            mean_ci,
            tail_ci,
            self._named(change[:count]),
            self._named(change[count:]),
            mean_shares,
            tail_shares,
            mean_shares_ci,
            tail_shares_ci,
        )

    def _resampled(self, weights: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix] | None:
        """Errors of an estimate, shape (`RESAMPLES`, stages), for the mean and the tail; None where nothing is left to judge by.

        The wild bootstrap: each run keeps what the model leaves over of all its stages, with a sign that is drawn, so that neither
        equal spread nor replicates are needed. Wu, *Jackknife, bootstrap and other resampling methods in regression analysis*,
        Annals of Statistics 14, 1986; residuals over 1 − leverage as in HC3; widened as Student's t is beside the normal.
        """
        from scipy.stats import norm, t

        if self._freedom < 1:
            return None
        signs = rng.choice((-1.0, 1.0), size=(RESAMPLES, len(weights)))
        wider = float(t.ppf(0.975, self._freedom) / norm.ppf(0.975))
        drawn = wider * signs @ (weights[:, None] * self._errors)
        return drawn[:, : len(self._stages)], drawn[:, len(self._stages) :]

    def _shared(
        self, change: Matrix, drawn: Matrix | None, size: float
    ) -> tuple[float, Interval | None, dict[str, float], dict[str, Interval]]:
        """A change with its interval, and the shares of its stages with theirs where it can be told from none."""
        whole = math.fsum(change.tolist())
        if drawn is None:
            return whole, None, {}, {}
        parts = change + drawn
        wholes = parts.sum(axis=1)
        low, high = np.quantile(wholes, (0.025, 0.975)).tolist()
        if low <= 0 <= high or abs(whole) < 1e-9 * size:
            return whole, (low, high), {}, {}
        kept = wholes * whole > 0  # a resample that turns the change around says nothing of what it is made of
        bounds = np.quantile(parts[kept] / wholes[kept, None], (0.025, 0.975), axis=0).T.tolist()
        intervals = {name: (bound[0], bound[1]) for name, bound in zip(self._stages, bounds, strict=True)}
        return whole, (low, high), self._named(change / whole), intervals

    def _named(self, values: Matrix) -> dict[str, float]:
        return dict(zip(self._stages, values.tolist(), strict=True))

    def notes(self) -> list[str]:
        """What the design cannot tell."""
        found = [
            f"{name} is not told: its effect cannot be told from that of {', '.join(twins)} in this design."
            for name, twins in self._model.aliased.items()
            if name in self._codes
        ]
        found += [
            f"{name} has {len(term.contrasts)} levels: the least and the greatest are told, by a parabola through all."
            for term in self.mains
            for name in term.factors
            if len(self._levels(term)) < len(term.contrasts)
        ]
        if self._freedom < 1:
            found.append("As many effects as runs: nothing is left to judge changes by. Make more replicates.")
        return found
