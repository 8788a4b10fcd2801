"""The verb that makes a packaged record again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from estran.cli.describe import Flag, JsonOption


def reproduce(
    crate: Path,
    /,
    *,
    on: Annotated[str | None, Parameter(name="--on")] = None,
    yes: Annotated[bool, Flag] = False,
    env: Literal["new", "here"] = "new",
    margin: str = "10%",
    out: Path = Path("reproductions"),
    json: JsonOption = False,
) -> int:
    """Make the run or study of a crate again, and give a verdict on every claim.

    Parameters
    ----------
    crate
        A zip file that `estran export --to crate` wrote.
    on
        The platform; the one of the record if not given.
    yes
        Execute what the crate holds. Without it the crate is checked, and what would be executed is shown.
    env
        `new`: build an environment with the recorded versions; `here`: use this one, and say which versions differ.
    margin
        Relative difference between responses that counts as none.
    out
        Folder for reproductions.
    json
        Print one JSON object at the end, and no progress.
    """
    import msgspec
    from rich.console import Console

    from estran.cli.predict import fraction
    from estran.report.reproduced import print_preview, print_verdict, write_verdict_page
    from estran.reproduce.reproduction import Request, preview
    from estran.reproduce.reproduction import reproduce as made_again

    request = Request(crate, on, env, fraction(margin))
    if not yes:
        shown = preview(request)
        if json:
            sys.stdout.write(msgspec.json.encode({"verdict": None, "would": shown.plain()}).decode() + "\n")
        else:
            print_preview(Console(emoji=False), shown)
        print("→ to execute it: add --yes", file=sys.stderr)
        return 2
    console = Console(stderr=True, emoji=False, highlight=False)
    folder, verdict = made_again(
        request, out=out, tell=_silent if json else lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    page = write_verdict_page(verdict, folder)
    if json:
        sys.stdout.write(msgspec.json.encode({"folder": str(folder), "page": str(page), **verdict.plain()}).decode() + "\n")
    else:
        print_verdict(Console(emoji=False), verdict)
        print(f"→ {page}")
    return 0 if verdict.verdict == "confirmed" else 1


def _silent(line: str) -> None:
    """Nobody is told."""
