"""What of a study's table one response is explained from: its values, the run of each, and the hosts and machines behind them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.model import Matrix
from estran.explain.table import Table

_HOST: Final = re.compile(r"(?P<stem>.+@.+-)\d+")


@dataclass(frozen=True)
class Sample:
    """Values of one response.

    Attributes
    ----------
    y
        Values: one a run, or one a run and host.
    rows
        Row of the table that each value is from, shape (values,).
    hosts
        Number of each value's host, from 0; None where there is one value a run.
    machines
        Number of the machine on which each value's run was made; None where all were made on one, or none is known.
    """

    y: Matrix
    rows: NDArray[np.int64]
    hosts: NDArray[np.int64] | None
    machines: NDArray[np.int64] | None


def per_host(table: Table) -> Mapping[str, tuple[str, ...]]:
    """Responses that several like hosts measured: ``energy@edge-*`` and its columns ``energy@edge-0``, ``energy@edge-1``, …."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in table.responses:
        if matched := _HOST.fullmatch(name):
            found[matched["stem"] + "*"].append(name)
    return {name: tuple(columns) for name, columns in found.items() if len(columns) > 1}


def sample(table: Table, response: str) -> Sample:
    """Take out what finished runs measured.

    Raises
    ------
    RequestError
        If there is no such response, no finished run measured it, or it never changes.
    """
    groups = per_host(table)
    if response not in table.responses and response not in groups:
        known = ", ".join(sorted((*table.responses, *groups)))
        raise RequestError(f"no run measured {response!r}", where="--response", remedy=f"choose one of {known}")
    columns = groups.get(response, (response,))
    values = np.array([table.responses[name] for name in columns]).T
    places = np.argwhere(table.done[:, None] & np.isfinite(values))
    if not len(places):
        raise RequestError(f"no finished run measured {response}", where="--response", remedy="see why: estran show RUN")
    rows, hosts = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
    y = values[rows, hosts]
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        what = f"{response} is {y[0]:.6g} in all {len(set(rows.tolist()))} runs: nothing changes it"
        raise RequestError(what, where="--response", remedy="choose another")
    several = len(np.unique(hosts)) > 1
    return Sample(y, rows, _dense(hosts) if several else None, _machines(table, rows))


def by_run(table: Table, response: str) -> Matrix:
    """One value for each row of the table: what its run measured, or the mean over like hosts; NaN where there is none."""
    columns = per_host(table).get(response, (response,))
    values = np.array([table.responses[name] for name in columns])
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def _machines(table: Table, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    names = np.array([table.machines[row] for row in rows] if table.machines else [], dtype=np.str_)
    return _dense(names) if len(np.unique(names)) > 1 else None


def _dense(values: NDArray[np.int64] | NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
