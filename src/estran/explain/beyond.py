"""What follows from a study beside its effects: what limits it, what trades against what, what if, and what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estran.errors import RequestError
from estran.explain.better import higher_is_better
from estran.explain.bottleneck import Bottleneck, bottleneck
from estran.explain.explanation import plain
from estran.explain.further import Further, suggest, write_design
from estran.explain.pareto import Front, front, usual
from estran.explain.table import Table
from estran.explain.whatif import Prediction, parse_settings, predict


@dataclass(frozen=True)
class Beyond:
    """Parts that could be had of this study; ``why`` says of each other part why it could not.

    Attributes
    ----------
    written
        The file that the suggested runs were written to, and how many they are.
    seed
        The first that no run of the study had.
    """

    predictions: tuple[Prediction, ...]
    bottleneck: Bottleneck | None
    front: Front | None
    further: tuple[Further, ...]
    written: tuple[Path, int] | None
    seed: int
    why: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "predictions": [plain(one) for one in self.predictions],
            "bottleneck": None if self.bottleneck is None else plain(self.bottleneck),
            "front": None if self.front is None else plain(self.front),
            "next": [plain(one) | {"points": list(one.points)} for one in self.further],
        }


def look_beyond(
    table: Table,
    responses: Sequence[str],
    rng: np.random.Generator,
    *,
    asked: Sequence[str] | None = None,
    what_if: Sequence[str] | None = None,
    runs: int = 4,
    file: Path | None = None,
) -> Beyond:
    """Gather all parts; what was asked for and cannot be is refused, what comes by itself is left out with a reason.

    Parameters
    ----------
    responses, asked
        What is explained, and which responses the user named.
    what_if, runs, file
        Settings to predict at, how many further runs to suggest, and where to write them.

    Raises
    ------
    RequestError
        If a setting, or the suggestion of runs to a file, cannot be had.
    """
    factorial = table.folder.asked.design not in ("sobol", "morris")
    if not factorial and (what_if or file):
        what = f"a study of the design {table.folder.asked.design} has no model to predict from"
        raise RequestError(what, where="--what-if" if what_if else "--next", remedy="study it by full, fraction or latin")
    setting = parse_settings(what_if or ())
    predictions = tuple(predict(table, name, setting) for name in responses) if setting else ()
    further = tuple(suggest(table, name, runs) for name in responses) if factorial else ()
    written = None if file is None else (file, write_design(file, table, further))
    traded = [name for name in asked or () if higher_is_better(name) is not None]
    why: list[str] = []
    limits, trade = None, None
    try:
        limits = bottleneck(table)
    except RequestError as error:
        why.append(f"No bottleneck is named: {error.what}.")
    names = tuple(traded) if asked else usual(table)
    if len(names) > 1:
        try:
            trade = front(table, names, rng)
        except RequestError as error:
            why.append(f"No trade-offs are shown: {error.what}.")
    seed = 1 + max(row.seed for row in table.folder.rows)
    return Beyond(predictions, limits, trade, further, written, seed, tuple(why))
