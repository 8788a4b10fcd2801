"""A validation on a terminal: both sides, the error with its interval, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from estran.report.table import bare_table
from estran.report.wording import NONE, count, plain, quantity
from estran.study.validation import Judged, Validation
from estran.units import minus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES = {"valid": "green", "invalid": "bold red", "cannot tell": "yellow"}


def print_validation(console: Console, validation: Validation) -> None:
    """Print the verdict, the table of responses, and what the prediction rests on."""
    from rich.text import Text

    head = Text.assemble((validation.verdict, _STYLES[validation.verdict]), "  ", (validation.experiment, "bold"))
    about = f"  {len(validation.seeds)} seeds from {validation.seeds[0]} · margin {plain(100 * validation.margin)} %"
    console.print(head.append(about, "dim"))
    console.print(_responses(validation))
    console.print(_basis(validation), soft_wrap=True)
    console.print(Text(f"{validation.folder}/validation.json", "dim"), soft_wrap=True)


def _responses(validation: Validation) -> Table:
    from rich.text import Text

    table = bare_table()
    table.add_column("response", overflow="fold", min_width=14)
    for column in ("simulated", "emulated", "error (95 % CI)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, judged in validation.responses.items():
        table.add_row(
            name, _mean(judged.simulated, judged.unit), _mean(judged.emulated, judged.unit), told_error(judged),
            Text(judged.verdict, _STYLES[judged.verdict]),
        )  # fmt: skip
        if judged.note:
            table.add_row("", "", "", "", Text(judged.note, "dim"))
    return table


def told_error(judged: Judged) -> str:
    """Error and interval in words: in points for accuracy, else as a share, or as a difference where there is nothing to share."""
    error = judged.error
    relative = error.relative is not None and (error.relative_ci95 is not None or error.n < 2)
    if judged.tolerance.relative is not None and relative:
        return _shown(error.relative, error.relative_ci95, lambda value: minus(f"{100 * value:+.1f}"), " %")
    if judged.tolerance.relative is None:
        return _shown(error.absolute, error.absolute_ci95, lambda value: minus(f"{100 * value:+.1f}"), " points")
    return _shown(error.absolute, error.absolute_ci95, lambda value: quantity(value, judged.unit), "")


def _shown(value: float | None, bounds: tuple[float, float] | None, told: Callable[[float], str], unit: str) -> str:
    interval = "" if bounds is None else f" ({told(bounds[0])} to {told(bounds[1])})"
    return NONE if value is None else f"{told(value)}{unit}{interval}"


def _mean(values: tuple[float, ...], unit: str) -> str:
    return quantity(float(np.mean(values)), unit) if values else NONE


def _basis(validation: Validation) -> Text:
    from rich.text import Text

    at = ", ".join(f"{name} {level}" for name, level in validation.assignment.items())
    setting = "; ".join(part for part in (at, *validation.settings) if part) or "as in the file"
    if validation.calibration is None:
        return Text(f"setting: {setting}. Not calibrated: costs are estimates.", "yellow")
    kind = "held out from" if validation.held_out else "one of those used for"
    runs = count(len(validation.calibrated_at), "run")
    return Text(f"setting: {setting}; {kind} calibration ({validation.calibration}, {runs}).", "dim")
