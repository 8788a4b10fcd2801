"""Verbs that understand: explain and compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from estran.cli.describe import JsonOption
from estran.cli.studying import SHOWN


def explain(
    study: Path, /, *, response: Annotated[list[str] | None, Parameter(negative=())] = None, seed: int = 0, json: JsonOption = False
) -> None:
    """Say which factors drive the responses of a study, by how much, and how sure that is.

    Parameters
    ----------
    study
        The study's folder.
    response
        What to explain; accuracy, latency, staleness and what else is best known if not given. Repeatable.
    seed
        Of permutations, where tests need them.
    json
        Print one JSON object.
    """
    import msgspec
    import numpy as np
    from rich.console import Console

    from estran.explain.effects import explain as explained
    from estran.explain.effects import plain
    from estran.explain.indices import explain_by_indices
    from estran.explain.paths import paths
    from estran.explain.table import read_table
    from estran.report.explained import print_explanation, print_indices
    from estran.report.pathed import print_paths

    table = read_table(study)
    wanted = response or [name for name in SHOWN if table.varies(name)] or sorted(filter(table.varies, table.responses))[:1]
    indices = table.folder.asked.design in ("sobol", "morris")
    how, printed = (explain_by_indices, print_indices) if indices else (explained, print_explanation)
    found: list[Any] = [how(table, name, np.random.default_rng(seed)) for name in wanted or sorted(table.responses)[:1]]
    way = paths(table, np.random.default_rng(seed)) if any(one.response.startswith("latency") for one in found) else None
    if json:
        data = {"study": str(study), "explanations": [plain(one) for one in found], "paths": way and plain(way)}
        sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
        return
    console = Console()
    for number, one in enumerate(found):
        if number:
            console.rule(style="dim")
        printed(console, one)
    if way is not None:
        console.rule(style="dim")
        print_paths(console, way)


def compare(
    a: Path,
    b: Path,
    /,
    *,
    response: Annotated[list[str] | None, Parameter(negative=())] = None,
    margin: str = "5%",
    json: JsonOption = False,
) -> None:
    """Say how the responses of two runs or two studies differ, and whether B is better, worse or equivalent.

    Parameters
    ----------
    a, b
        Two run folders, or the folders of two studies with points in common: other platforms, other versions, other settings.
    response
        What to compare; all that both measured if not given. Repeatable.
    margin
        Relative difference that counts as none.
    json
        Print one JSON object.
    """
    import msgspec
    from rich.console import Console

    from estran.cli.predict import fraction
    from estran.explain.compare import compare as compared
    from estran.explain.effects import plain
    from estran.report.compared import print_comparison

    found = compared(a, b, responses=tuple(response or ()), margin=fraction(margin))
    if json:
        sys.stdout.write(msgspec.json.encode(plain(found)).decode() + "\n")
    else:
        print_comparison(Console(), found)
