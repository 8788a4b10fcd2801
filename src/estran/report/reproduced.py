"""The verdict on a reproduction, on a terminal and as a small page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from estran.report.claimed import told
from estran.report.differing import print_differences
from estran.report.frame import document, write_page
from estran.report.markup import table, tag, text
from estran.report.table import bare_table
from estran.report.wording import plain, quantity
from estran.reproduce.reproduction import Preview
from estran.reproduce.verdict import KINDS, Claimed, Responded, Verdict
from estran.units import minus

if TYPE_CHECKING:
    from rich.console import Console

PAGE: Final = "verdict.html"
_STYLES: Final = {"confirmed": "green", "not confirmed": "bold red", "cannot tell": "yellow"}
_SHOWN: Final = {"equivalent": "", "different": "red", "cannot tell": "yellow"}
_MOST_FILES: Final = 5


def print_preview(console: Console, preview: Preview) -> None:
    """What would be executed, and how to have it so."""
    from rich.text import Text

    console.print(Text.assemble((preview.experiment, "bold"), f": {preview.kind}. Its files are as they were packed."))
    console.print("Nothing has been executed yet. With --yes there would be", highlight=False)
    told = bare_table()
    told.show_header = False
    told.add_column("", style="dim", no_wrap=True)
    told.add_column("", overflow="fold")
    told.add_row("command", Text(preview.command))
    told.add_row("environment", Text(preview.environment))
    for name, runs in preview.services:
        told.add_row("service", Text(f"{name}: {runs}"))
    told.add_row("code", Text(", ".join(preview.code) or "none of its own"))
    for warning in preview.warnings:
        told.add_row("!", Text(warning, "yellow"))
    console.print(told)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Verdict first, then claims, files, responses of the whole run, and what differs."""
    from rich.text import Text

    head = Text.assemble((verdict.verdict, _STYLES[verdict.verdict]), "  ", (verdict.experiment, "bold"))
    console.print(head.append(f"  {verdict.because} · {verdict.kind}: {KINDS[verdict.kind]}", "dim"), soft_wrap=True)
    for claim in verdict.claims:
        console.print(Text.assemble((claim.verdict, _STYLES[claim.verdict]), "  ", (claim.claim, "bold")), soft_wrap=True)
        console.print(Text(f"  recorded: {claim.recorded.verdict}, {told(claim.recorded)}", "dim"), soft_wrap=True)
        console.print(Text(f"  now:      {claim.again.verdict}, {told(claim.again)}", "dim"), soft_wrap=True)
        for reason in claim.reasons:
            console.print(Text(f"  differs:  {reason}"), soft_wrap=True)
    if verdict.files is not None:
        console.print(_files(verdict), highlight=False, soft_wrap=True)
    if verdict.files is None or not verdict.files.identical:
        _print_responses(console, verdict)
    print_differences(console, verdict.differences)


def _files(verdict: Verdict) -> str:
    files = verdict.files
    if files is None:
        return "files are compared of simulations only"
    if files.identical:
        other = f" ({len(files.rewritten)} of them with the same rows in other bytes)" if files.rewritten else ""
        return f"all {files.files} files of {files.runs} {'run' if files.runs == 1 else 'runs'} are the same{other}"
    more = f" and {len(files.differing) - _MOST_FILES} more" if len(files.differing) > _MOST_FILES else ""
    return f"not the same: {', '.join(files.differing[:_MOST_FILES])}{more}, of {files.files} files"


def _print_responses(console: Console, verdict: Verdict) -> None:
    from rich.text import Text

    found = bare_table()
    found.add_column("response", no_wrap=True)
    for column in ("recorded", "now", "change (95 % CI)"):
        found.add_column(column, justify="right")
    found.add_column("", no_wrap=True)
    for one in _whole(verdict):
        found.add_row(*_cells(one), Text(one.verdict, _SHOWN[one.verdict]))
    console.print(found)
    if verdict.absent:
        console.print(Text(f"measured on one side only: {', '.join(verdict.absent)}", "yellow"), soft_wrap=True)


def _whole(verdict: Verdict) -> list[Responded]:
    return [one for one in verdict.responses if "@" not in one.response]


def _cells(one: Responded) -> list[str]:
    found = one.difference
    shares = found.relative_ci95
    change = "–" if found.relative is None else minus(f"{100 * found.relative:+.2g} %")
    bounds = "" if shares is None else minus(f" ({100 * shares[0]:+.2g} to {100 * shares[1]:+.2g})")
    return [one.response, quantity(found.a, found.unit), quantity(found.b, found.unit), change + bounds]


def write_verdict_page(verdict: Verdict, folder: Path) -> Path:
    """Write the page; returns its path.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    sections = [
        ("claims", "Claims", _claims_table(verdict)),
        ("responses", "Responses", tag("p", text(_files(verdict))) + _responses_table(verdict)),
        ("facts", "Recorded facts", _facts_table(verdict)),
    ]
    about = f"{verdict.because}. A {verdict.kind}: {KINDS[verdict.kind]}. From {Path(verdict.crate).name}."
    head = tag("header", tag("h1", text(f"{verdict.experiment}: {verdict.verdict}")), tag("p", text(about)))
    main = head + "".join(tag("section", tag("h2", text(title)), body, id=name) for name, title, body in sections)
    page = document(
        f"{verdict.experiment}: {verdict.verdict}", "Estran", [(name, title) for name, title, _ in sections], main,
        tag("p", text(f"Equivalent: within ±{plain(100 * verdict.margin)} % by two one-sided tests at 5 %.")),
    )  # fmt: skip
    return write_page(page, folder / PAGE, "reproduce it again")


def _claims_table(verdict: Verdict) -> str:
    if not verdict.claims:
        return tag("p", "The description claims nothing.")
    rows = [
        [_sentence(one.claim), text(one.verdict), text(told(one.recorded)), text(told(one.again)), _why(one)]
        for one in verdict.claims
    ]
    return table(["claim", "verdict", "recorded", "now", "what differs"], rows, caption="Each claim in the record, and made again")


def _sentence(claim: str) -> str:
    """A claim, broken where it has to be: other tables keep their first column on one line."""
    return tag("span", text(claim), class_="sentence")


def _why(one: Claimed) -> str:
    return "<br>".join(text(reason) for reason in one.reasons)


def _responses_table(verdict: Verdict) -> str:
    rows = [[*map(text, _cells(one)), text(one.verdict)] for one in verdict.responses]
    heads, caption = ["response", "recorded", "now", "change (95 % CI)", ""], "Responses in the record, and made again"
    return table(heads, rows, numeric=frozenset({1, 2, 3}), caption=caption)


def _facts_table(verdict: Verdict) -> str:
    if not verdict.differences.changed:
        return tag("p", "No recorded fact differs.")
    rows = [[text(one.group), text(str(one))] for one in verdict.differences.changed]
    return table(["", "fact: recorded → now"], rows, caption="Those that differ, most likely to matter first")
