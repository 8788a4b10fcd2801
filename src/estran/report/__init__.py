"""What people read of a run: a self-contained HTML page, and a table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_summary", "render", "write_report"]


def render(folder: Path) -> str:
    """The report of a run folder as one HTML document; see `estran.report.page.render`."""
    from estran.report import page

    return page.render(folder)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder; see `estran.report.page.write_report`."""
    from estran.report import page

    return page.write_report(folder)


def print_summary(console: Console, folder: Path) -> None:
    """Print the main responses of a run; see `estran.report.table.print_summary`."""
    from estran.report import table

    table.print_summary(console, folder)
