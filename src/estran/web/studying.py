"""A study as it goes: every row of its design with the run that was made of it, and how far all have come."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from estran.study.folder import DOCUMENT, Folder
from estran.study.rows import cell
from estran.web.index import Listed

_NUMBERS: Final = re.compile(r"(\d+)-(\d+)")
"""A run's folder in a study: the row's number, and that of the attempt."""


def study_state(folder: Path, runs: Sequence[Listed], now: datetime) -> dict[str, Any]:
    """The table of a study, and its progress.

    Parameters
    ----------
    runs
        Those of this study.
    now
        The time of day, for how long the study will still take.

    Raises
    ------
    RequestError
        If its files cannot be read.
    """
    study = _opened(
        folder, tuple((folder / name).stat().st_mtime_ns for name in (DOCUMENT, "design.csv") if (folder / name).exists())
    )
    attempts: dict[int, Listed] = {}
    numbered = [(_NUMBERS.fullmatch(run.name), run) for run in runs]
    for found, run in sorted(((found, run) for found, run in numbered if found), key=lambda pair: int(pair[0][2])):
        attempts[int(found[1])] = run  # the last attempt holds
    rows = [
        {
            "run": row.run, "block": row.block, "point": row.point, "seed": row.seed,
            "levels": {name: cell(level) for name, level in row.levels.items()},
            "status": attempts[row.run].status if row.run in attempts else "to do",
            "key": attempts[row.run].key if row.run in attempts else None,
            "responses": attempts[row.run].responses if row.run in attempts else {},
            "failure": attempts[row.run].failure if row.run in attempts else None,
        }
        for row in study.rows
    ]  # fmt: skip
    counts = Counter(str(row["status"]) for row in rows)
    asked = study.asked
    return {
        "name": folder.name, "experiment": asked.experiment, "platform": asked.on, "design": asked.design,
        "replicates": asked.replicates, "seed": asked.seed,
        "factors": {name: len(levels) for name, levels in asked.factors.items()},
        "counts": dict(counts), "runs": len(rows), "rows": rows, "left": _left(runs, counts, len(rows), now),
        "pages": [page.name for page in pages(folder)],
    }  # fmt: skip


@lru_cache(maxsize=8)
def _opened(folder: Path, changed: tuple[int, ...]) -> Folder:
    """A study's documents, read anew only when they have changed."""
    return Folder.open(folder)


def _left(runs: Sequence[Listed], counts: Counter[str], rows: int, now: datetime) -> float | None:
    """Seconds until all are made, if the others take as long as those that are; None where nothing goes on."""
    over = counts["done"] + counts["failed"]
    begun = min((run.started for run in runs if run.started), default=None)
    if not counts["running"] or not over or begun is None:
        return None
    return (now - datetime.fromisoformat(begun).astimezone(UTC)).total_seconds() / over * (rows - over)


def pages(folder: Path) -> list[Path]:
    """Self-contained pages that explaining or optimising left in a folder."""
    return [path for path in sorted(folder.glob("*.html")) if path.is_file() and not path.is_symlink()]
