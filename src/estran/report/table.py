"""The main figures of a run for the terminal: what came out, what was asked of the network, what went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.report.claimed import print_claims
from estran.report.folder import Response, RunFolder, read_document, read_folder
from estran.report.network import LinkGroup, fallbacks, group, links, worth_telling
from estran.report.verdict import cause, ordered
from estran.report.wording import NONE, interval, quantity, together

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

MOST_RESPONSES = 22
MOST_LINKS = 8
MOST_FAULTS = 6
WIDE = 110
_WORRIES = {"superseded", "duplicates", "reordered", "unprocessed"}
_DETAILS = {"message_bytes", "staleness_versions"}
_METHOD = re.compile(r"batch means|Wilson|order statistics|sum to latency")
_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "interrupted": ("■", "yellow"), "running": ("●", "blue")}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def print_summary(console: Console, folder: Path) -> None:
    """Print a run's main figures, at any width from 60 columns on.

    Raises
    ------
    RequestError
        If there is no run in ``folder``.
    DataError
        If one of its documents is damaged.
    """
    run = read_folder(folder)
    console.print(_title(run))
    if run.failure is not None:
        console.print(_failure(run.failure))
    if run.responses:
        console.print(_responses(run, notes=max(0, console.width - 78) if console.width >= WIDE else 0))
    groups = group(links(run), run.hosts)
    if groups and not run.simulated:
        console.print(_links(groups))
    broken = _broken(folder)
    if broken:
        console.print(_line("broken on purpose  ", "cyan", broken))
    for warning in fallbacks(run):
        console.print(_line("! ", "yellow", warning))
    if run.status == "done":
        print_claims(console, folder)
    for kept in run.run.get("kept") or []:
        console.print(_line("kept  ", "cyan", kept))
    report = folder / "report.html"
    if report.is_file():
        console.print(_line("report  ", "dim", str(report)), soft_wrap=True)


def _title(run: RunFolder) -> Text:
    from rich.text import Text

    mark, colour = _MARKS.get(run.status, ("?", "yellow"))
    seconds = sum(float(phase.get("seconds") or 0.0) for phase in run.run.get("phases") or [])
    title = Text.assemble((f"{mark} {run.status}", f"bold {colour}"), "  ", (_clean(run.name), "bold"))
    about = [
        str(run.run.get("id", "")),
        str(run.run.get("platform", "")),
        f"seed {run.run.get('seed', '?')}",
        f"{quantity(run.warmup + float(run.run.get('duration') or 0.0), 's')} simulated" if run.simulated else "",
        quantity(seconds, "s") if seconds else "",
    ]
    return title.append("  " + _clean(" · ".join(part for part in about if part)), "dim")


def _failure(failure: Mapping[str, Any]) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    where = " · ".join(f"{name} {_clean(failure[name])}" for name in ("phase", "host", "service") if failure.get(name))
    head, points = cause(_clean(failure.get("what") or "no cause was recorded"))
    body = Text(head, "bold").append("".join(f"\n• {point}" for point in points[:6]), "not bold")
    if failure.get("remedy"):
        body.append(f"\n→ {_clean(failure['remedy'])}", "not bold")
    tail = [_clean(line) for line in failure.get("log_tail") or []][-8:]
    if tail:
        body.append("\n\n" + "\n".join(tail), "not bold dim")
    return Panel(
        body, title=Text(f"failed in {where}" if where else "failed"), title_align="left", border_style="red", padding=(0, 1)
    )


def _responses(run: RunFolder, *, notes: int) -> Table:
    shown = _main(list(run.responses.values()))
    table = bare_table()
    table.add_column("response", overflow="fold")
    table.add_column("value", justify="right", style="bold", no_wrap=True)
    table.add_column("95 % CI", justify="right", no_wrap=True)
    table.add_column("n", justify="right", style="dim", no_wrap=True)
    if notes:
        table.add_column("", style="dim", no_wrap=True, overflow="ellipsis", max_width=notes)
    for response in shown:
        cells = [
            _clean(response.name) + (" (by model)" if response.name == "energy" and response.note.startswith("model") else ""),
            quantity(response.value, response.unit, 4),
            interval(response.low, response.high, response.unit),
            f"{response.n:,}" if response.n is not None else NONE,
        ]
        table.add_row(*map(_text, cells), *([_text(_clean(_told(response.note)))] if notes else []))
    left = len(run.responses) - len(shown)
    table.caption = f"and {left} more in responses.json" if left else None
    return table


def _main(responses: list[Response]) -> list[Response]:
    """Those of the whole run, not of one service or host; what is nothing to worry about is left out."""
    whole = [response for response in ordered(responses) if "@" not in response.name and response.name not in _DETAILS]
    told = [response for response in whole if response.name not in _WORRIES or response.value]
    return [response for response in told if not response.name.startswith("recorded_")][:MOST_RESPONSES]


def _told(note: str) -> str:
    """What a note says beyond how its interval was made, which the report tells."""
    return "; ".join(part for part in note.split("; ") if not _METHOD.search(part))


def _links(groups: list[LinkGroup]) -> Table:
    table = bare_table()
    table.add_column("link", overflow="fold")
    kept = [name for name in worth_telling(groups) if name != "jitter"]
    for name in kept:
        table.add_column(f"{name} asked → got", justify="right")
    table.add_column("", no_wrap=True)
    for like in sorted(groups, key=lambda like: like.ok is not False)[:MOST_LINKS]:
        name = f"{like.source} → {like.target}" + (f" ×{len(like.links)}" if len(like.links) > 1 else "")
        figures = [together(like.asked(name), "→", like.measured(name).split(" (")[0]) for name in kept]
        table.add_row(*map(_text, [_clean(name), *figures]), _verdict(like))
    left = len(groups) - MOST_LINKS
    table.caption = f"and {left} more in network.json" if left > 0 else None
    return table


def _verdict(like: LinkGroup) -> Text:
    from rich.text import Text

    if like.ok is None:
        return Text("not probed", "dim")
    return Text("✓", "green") if like.ok else Text(f"✗ {len(like.failed)} bad", "bold red")


def bare_table() -> Table:
    """A table without a frame, for a terminal."""
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", caption_style="dim", caption_justify="left"
    )


def _broken(folder: Path) -> str:
    """Which faults happened, and when."""
    happened = (one for one in read_document(folder / "faults.json").get("faults", ()) if one["begun"] is not None)
    told = [
        f"{one['key']} ({one['kind']}) from {quantity(one['begun'], 's')}{_until(one['ended'])}"
        for one in sorted(happened, key=lambda one: float(one["begun"]))
    ]
    return "; ".join(told[:MOST_FAULTS]) + (f" and {len(told) - MOST_FAULTS} more" if len(told) > MOST_FAULTS else "")


def _until(ended: float | None) -> str:
    return "" if ended is None else f" to {quantity(ended, 's')}"


def _line(head: str, style: str, words: str) -> Text:
    from rich.text import Text

    return Text.assemble((head, style), _clean(words))


def _text(words: str) -> Text:
    """Text that rich does not read as markup."""
    from rich.text import Text

    return Text(words)


def _clean(words: object) -> str:
    """Without what would steer the terminal."""
    return _ESCAPES.sub("", str(words))
