"""The rows of a study's design: one a run, with its levels, block and seed; and the CSV files that hold them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from estran.errors import RequestError
from estran.study.design import Point
from estran.study.factors import Factor

OWN: Final = ("run", "block", "point", "seed")
"""Columns of ``design.csv`` before those of the factors."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run that is to be made.

    Attributes
    ----------
    run
        Its number, from 1, in the order in which runs are made.
    block
        Number of the replicate that it belongs to, from 1: every block has each point of the design once, and one seed.
    point
        Number of the design's point, from 1: replicates of a point share it.
    seed
        Of the experiment.
    levels
        A level for each factor that varies.
    """

    run: int
    block: int
    point: int
    seed: int
    levels: Mapping[str, Any]


def arranged(
    points: Sequence[Point], replicates: int, seed: int, rng: np.random.Generator | None, *, apart: bool = False
) -> tuple[Row, ...]:
    """Rows for all points, in blocks.

    All points of a block run with the same seed, so that they meet the same data and the same chance (common random numbers), and
    differences between levels are not drowned in differences between seeds; the next block has the next seed. Within a block the
    order is drawn, so that what drifts while a study runs does not look like an effect.

    Parameters
    ----------
    rng
        Source of the order; None to keep that of the design.
    apart
        Whether points that are written several times are replicates, in blocks of their own: with one seed they would only repeat
        each other.
    """
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    turns: list[int] = []
    for point in points:
        key = repr(sorted(point.items()))
        turns.append(seen[key] if apart else 0)
        seen[key] += 1
    turn = max(turns, default=0) + 1
    for block in range(replicates):
        order = np.arange(len(points)) if rng is None else rng.permutation(len(points))
        first = block * len(points) + 1
        for run, j in enumerate(order.tolist(), first):
            number = block * turn + turns[j]
            rows.append(Row(run, number + 1, j + 1, seed + number, points[j]))
    return tuple(rows)


def design_text(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Rows as the text of ``design.csv``."""
    return csv_text(
        [*OWN, *names], ([row.run, row.block, row.point, row.seed, *(cell(row.levels[name]) for name in names)] for row in rows)
    )


def csv_text(header: Sequence[str], lines: Any) -> str:
    """A CSV file with lines that end in line feeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def read_design(path: Path) -> tuple[Row, ...]:
    """Rows of a study's own ``design.csv``.

    Raises
    ------
    RequestError
        If the file is not what was written there.
    """
    header, lines = _table(path)
    if tuple(header[: len(OWN)]) != OWN:
        raise RequestError("this is no design of a study", where=str(path), remedy=f"it begins with {', '.join(OWN)}")
    rows = []
    for number, line in lines:
        try:
            run, block, point, seed = (int(text) for text in line[: len(OWN)])
        except ValueError as error:
            raise RequestError(f"{error}", where=f"{path}:{number}", remedy="restore the file as it was written") from error
        levels = {name: level(text) for name, text in zip(header[len(OWN) :], line[len(OWN) :], strict=True)}
        rows.append(Row(run, block, point, seed, levels))
    return tuple(rows)


def read_points(path: Path, factors: Sequence[Factor]) -> list[Point]:
    """Points of a design that a user wrote: a column for each factor, a line for each point.

    Factors without a column keep their default. A cell is read as JSON where it is JSON (``5``, ``true``,
    ``{"mlp": {}}``), else as text.

    Raises
    ------
    RequestError
        Naming the line, if there is an unknown column, a line of another length, or no line.
    """
    header, lines = _table(path)
    known = {factor.name: factor for factor in factors}
    for name in header:
        if name not in known:
            raise RequestError(f"there is no factor {name!r}", where=f"{path}:1", remedy=f"factors are {', '.join(known)}")
    if len(set(header)) < len(header):
        raise RequestError("a factor has two columns", where=f"{path}:1", remedy="keep one")
    base = {name: factor.default for name, factor in known.items()}
    found = [base | {name: level(text) for name, text in zip(header, line, strict=True)} for _, line in lines]
    if not found:
        raise RequestError("the design has no line", where=str(path), remedy="write a line for each run")
    return found


def cell(value: Any) -> str:
    """A level as a cell: text as it stands, unless it would be read as something else; all else as JSON."""
    if isinstance(value, str) and level(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def level(text: str) -> Any:
    """A level from a cell; the inverse of `cell`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and lines of a CSV file, with the number of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or str(error)
        raise RequestError(
            f"cannot read it: {what}", where=str(path), remedy="give a CSV file with a column for each factor"
        ) from error
    if not header:
        raise RequestError("the file is empty", where=str(path), remedy="begin with a line of factor names")
    for number, line in lines:
        if len(line) != len(header):
            what = f"{len(line)} cells under {len(header)} names"
            raise RequestError(what, where=f"{path}:{number}", remedy="give each factor a cell")
    return header, lines
