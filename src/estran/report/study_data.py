"""Everything that is said of one study, gathered once: for the terminal and for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estran.errors import EstranError
from estran.explain.beyond import Beyond, look_beyond
from estran.explain.effects import explain
from estran.explain.evidence import Evidence, evidence
from estran.explain.explanation import Explanation, plain
from estran.explain.indices import Indices, explain_by_indices
from estran.explain.paths import Paths, paths
from estran.explain.searched import condensed
from estran.explain.table import SHOWN, Table
from estran.observe.queries import open_run
from estran.study.study import SEARCHED


@dataclass(frozen=True)
class Answer:
    """What drives one response, and what stands behind that."""

    explanation: Explanation
    evidence: Evidence


@dataclass(frozen=True)
class Study:
    """One study, explained.

    Attributes
    ----------
    answers
        Of each response: of designs for indices these, of all others effects.
    paths
        None where runs recorded no messages.
    beyond
        What limits it, what trades against what, what if, and what to run next.
    failures
        Why runs failed, by their number.
    unmade
        How many runs are still to be made.
    manifest
        Of the first finished run.
    """

    table: Table
    answers: tuple[Answer | Indices, ...]
    paths: Paths | None
    beyond: Beyond
    failures: Mapping[int, str] = field(default_factory=dict)
    unmade: int = 0
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def explanations(self) -> list[Explanation | Indices]:
        """The answers without their evidence."""
        return [one if isinstance(one, Indices) else one.explanation for one in self.answers]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        shares = [None if isinstance(one, Indices) else one.evidence.shares_ci95 for one in self.answers]
        found = zip(self.explanations, shares, strict=True)
        explanations = [plain(one) | ({"shares_ci95": dict(ends)} if ends is not None else {}) for one, ends in found]
        return {"explanations": explanations, "paths": self.paths and plain(self.paths), **self.beyond.plain()}


def gather(
    table: Table,
    responses: Sequence[str] = (),
    seed: int = 0,
    *,
    what_if: Sequence[str] | None = None,
    next_runs: int = 4,
    file: Path | None = None,
) -> Study:
    """Explain a study.

    Parameters
    ----------
    responses
        What to explain; the best-known responses that vary if none is given.
    seed
        Of permutations and resamples.
    what_if, next_runs, file
        As of `look_beyond`.

    Raises
    ------
    RequestError
        If a response cannot be explained, or what was asked for besides cannot be had.
    """

    def rng() -> np.random.Generator:
        return np.random.default_rng(seed)

    wanted = list(responses) or chosen(table)
    answers = tuple(_answer(table, name, rng()) for name in wanted)
    beyond = look_beyond(table, wanted, rng(), asked=responses or None, what_if=what_if, runs=next_runs, file=file)
    failures = _failures(table)
    unmade = int((~table.done).sum()) - len(failures)
    return Study(table, answers, paths(table, rng()), beyond, failures, unmade, _manifest(table))


def chosen(table: Table) -> list[str]:
    """The best-known responses that vary; else the first one that does, or that there is."""
    varying = [name for name in SHOWN if table.varies(name)] or sorted(filter(table.varies, table.responses))[:1]
    return varying or sorted(table.responses)[:1]


def _answer(table: Table, response: str, rng: np.random.Generator) -> Answer | Indices:
    if table.folder.asked.design in ("sobol", "morris"):
        return explain_by_indices(table, response, rng)
    if table.folder.asked.design == SEARCHED:
        table = condensed(table)
    explanation = explain(table, response, rng)
    return Answer(explanation, evidence(table, explanation, rng))


def _failures(table: Table) -> dict[int, str]:
    found = {}
    for row, done in zip(table.folder.rows, table.done, strict=True):
        if not done:
            outcome = table.folder.outcome(row)
            if outcome.status != "todo":
                found[row.run] = outcome.failure or outcome.status
    return found


def _manifest(table: Table) -> dict[str, Any]:
    """Empty where the run folders were not kept."""
    first = int(np.argmax(table.done))
    try:
        folder = table.folder.outcome(table.folder.rows[first]).folder
        if folder is None:
            return {}
        open_run(folder)
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (EstranError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
