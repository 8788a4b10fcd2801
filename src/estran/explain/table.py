"""The table of a study as arrays: levels, blocks, responses; nothing is dropped without being counted."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.study.folder import Folder
from estran.study.rows import OWN, cell

SHOWN = ("accuracy", "latency", "latency_p99", "staleness", "throughput", "exchange_latency", "exchanges")
"""The best-known responses: what is explained, and shown on a terminal, if nothing is asked."""


@dataclass(frozen=True)
class Table:
    """All rows of a study in the order in which they were made.

    Attributes
    ----------
    levels
        Of each factor, its levels as cells: in the order of the experiment file, then others as they come.
    codes
        Of each factor, the number of each row's level, shape (rows,).
    blocks
        Number of each row's block, shape (rows,).
    points
        Number of the point of the design that each row is a replicate of, from 1, shape (rows,).
    done
        Whether the row's run was done, shape (rows,).
    responses
        Values by response, shape (rows,); NaN where a run did not measure it.
    units
        Of each response.
    machines
        Name of the machine on which each row's run was made; empty where it does not matter (simulated time) or is not known.
    """

    folder: Folder
    levels: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, NDArray[np.int64]]
    blocks: NDArray[np.int64]
    points: NDArray[np.int64]
    done: NDArray[np.bool_]
    responses: Mapping[str, NDArray[np.float64]]
    units: Mapping[str, str]
    machines: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        """Rows of the design."""
        return len(self.blocks)

    def varies(self, response: str) -> bool:
        """Whether finished runs measured it, and not always the same."""
        values = self.responses.get(response, np.empty(0))
        known = values[self.done & np.isfinite(values)] if len(values) else values
        return bool(len(known) and np.ptp(known) > 1e-12 * np.abs(known).max())


def read_table(path: Path) -> Table:
    """Read a study's `responses.csv`.

    Raises
    ------
    RequestError
        If this is no study, its table is missing or damaged, or no run of it is done.
    """
    folder = Folder.open(path)
    file = path / "responses.csv"
    names = list(folder.asked.factors)
    try:
        with file.open(encoding="utf-8", newline="") as source:
            rows = list(csv.DictReader(source))
        units: dict[str, str] = json.loads((path / "units.json").read_text(encoding="utf-8"))
        fixed = {*OWN, *names, "status", "attempts", "folder"}
        responses = [name for name in (rows[0] if rows else {}) if name not in fixed]
        done = np.array([row["status"] == "done" for row in rows], dtype=np.bool_)
        values = {name: np.array([_number(row[name]) for row in rows]) for name in responses}
        blocks = np.array([int(row["block"]) for row in rows], dtype=np.int64)
        points = np.array([int(row["point"]) for row in rows], dtype=np.int64)
        cells = {name: [row[name] for row in rows] for name in names}
    except FileNotFoundError as error:
        raise RequestError("the study has no table yet", where=str(path), remedy=f"estran resume {path}") from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise RequestError(
            f"its table cannot be read: {error}", where=str(file), remedy=f"make it anew: estran resume {path}"
        ) from error
    if not done.any():
        what = "none of its runs is done" if rows else "it has no runs"
        raise RequestError(what, where=str(path), remedy=f"estran resume {path}, or see why they failed: estran show {path}/runs/…")
    levels = {name: _ordered(cells[name], folder.asked.factors[name]) for name in names}
    numbers = {name: {text: number for number, text in enumerate(levels[name])} for name in names}
    codes = {name: np.array([numbers[name][text] for text in cells[name]], dtype=np.int64) for name in names}
    return Table(folder, levels, codes, blocks, points, done, values, units, _machines(folder, rows))


def _machines(folder: Folder, rows: list[dict[str, str]]) -> tuple[str, ...]:
    """From the manifests of runs in real time: the machine's name, or its hardware; none if any done run has none."""
    if folder.asked.on == "simulate":
        return ()
    found = []
    for row in rows:
        manifest = folder.path / row["folder"] / "manifest.json"
        if row["status"] != "done":
            found.append("")
        elif manifest.exists():
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            found.append(facts.get("machine") or json.dumps(facts.get("hardware"), sort_keys=True))
        else:
            return ()
    return tuple(found)


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _ordered(cells: list[str], levels: tuple[Any, ...]) -> tuple[str, ...]:
    """Levels that occur: those of the file in its order, then the others."""
    found = set(cells)
    known = dict.fromkeys(text for text in map(cell, levels) if text in found)
    return tuple(known | dict.fromkeys(cells))
