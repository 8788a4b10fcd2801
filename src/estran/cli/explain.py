"""The verb that explains a study."""

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
    from estran.explain.table import read_table
    from estran.report.explained import print_explanation, print_indices

    table = read_table(study)
    wanted = response or [name for name in SHOWN if table.varies(name)] or sorted(filter(table.varies, table.responses))[:1]
    indices = table.folder.asked.design in ("sobol", "morris")
    how, printed = (explain_by_indices, print_indices) if indices else (explained, print_explanation)
    found: list[Any] = [how(table, name, np.random.default_rng(seed)) for name in wanted or sorted(table.responses)[:1]]
    if json:
        data = {"study": str(study), "explanations": [plain(one) for one in found]}
        sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
        return
    console = Console()
    for number, one in enumerate(found):
        if number:
            console.rule(style="dim")
        printed(console, one)
