"""The catalogue of learners, printed."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.table import Table

    from estran.learning.about import About

_WIDE: Final = 130
"""Columns of a terminal from which on a source stands beside its settings, not below them."""
_OTHER: Final = "other"
"""Family of the learners that do not say what they are."""


def print_learners(*, family: str | None = None, json: bool = False) -> None:
    """Every learner that is installed, family by family; a dash where one does not say.

    Raises
    ------
    SettingsError
        If there is no such family.
    """
    from estran.learning import registry
    from estran.learning.mistakes import check_known

    found = {name: registry.about(name) for name in registry.names()}
    if family is not None:
        check_known(family, {_family(about) for about in found.values()}, kind="family", where="learners")
        found = {name: about for name, about in found.items() if _family(about) == family}
    settings = {name: registry.settings(name) for name in found}
    if json:
        import msgspec

        entries = {name: {"about": about, "settings": settings[name]} for name, about in found.items()}
        print(msgspec.json.encode(entries).decode())
        return
    from rich.console import Console

    console = Console(emoji=False)
    # One width for all families, so that their columns stand below each other.
    name_width = max(map(len, found), default=0)
    for (kind, task), names in groupby(
        sorted(found, key=lambda name: (*_group(found[name]), name)), lambda name: _group(found[name])
    ):
        console.print(f"[bold]{kind}[/bold]" + (f" (learns {task})" if task else ""), highlight=False)
        console.print(_table({name: (found[name], settings[name]) for name in names}, name_width, wide=console.width >= _WIDE))
        console.print()


def _family(about: About | None) -> str:
    return about.family if about else _OTHER


def _group(about: About | None) -> tuple[str, str]:
    return _family(about), about.task if about else ""


def _table(learners: dict[str, tuple[About | None, list[str]]], name_width: int, *, wide: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  name", min_width=name_width + 2)
    table.add_column("order", min_width=5)
    table.add_column("cost per sample", width=24)
    for title in ("settings", "source") if wide else ("settings, and source",):
        table.add_column(title, ratio=1)
    table.expand = True
    for name, (about, settings) in learners.items():
        order, cost, source = (str(about.order), about.cost, about.source) if about else ("–",) * 3
        given = ", ".join(settings) or "–"
        table.add_row(f"  {name}", order, cost, *((given, source) if wide else (f"{given}\n[dim]{source}[/dim]",)))
    return table
