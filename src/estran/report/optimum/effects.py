"""The effects of factors on the goals, as `estran explain` finds them in the table of trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estran.errors import RequestError
from estran.explain.effects import explain
from estran.explain.evidence import evidence
from estran.explain.searched import condensed
from estran.explain.table import read_table
from estran.report.study_data import Answer


@dataclass(frozen=True)
class Effects:
    """What was found of each goal, or why nothing was."""

    answers: tuple[Answer, ...] = ()
    why: tuple[str, ...] = ()


def effects(study: Path, responses: Sequence[str], seed: int) -> Effects:
    """Explain the trials of one fidelity.

    Parameters
    ----------
    study
        Folder of the study that holds them.
    seed
        Of permutations and resamples.
    """
    answers: list[Answer] = []
    why: list[str] = []
    for name in responses:
        try:
            table = condensed(read_table(study))
            found = explain(table, name, np.random.default_rng(seed))
            answers.append(Answer(found, evidence(table, found, np.random.default_rng(seed))))
        except RequestError as error:
            why.append(f"Nothing can be said of what drives {name}: {error.what}.")
    return Effects(tuple(answers), tuple(why))
