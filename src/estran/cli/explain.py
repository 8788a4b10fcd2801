"""Verbs that understand: explain and compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from estran.cli.describe import JsonOption


def explain(
    study: Path,
    /,
    *,
    response: Annotated[list[str] | None, Parameter(negative=())] = None,
    what_if: Annotated[list[str] | None, Parameter(negative=())] = None,
    next_runs: int = 4,
    next: Annotated[Path | None, Parameter(name="--next")] = None,  # noqa: A002 the option's name
    seed: int = 0,
    json: JsonOption = False,
) -> None:
    """Say which factors drive the responses of a study, by how much, and how sure that is.

    Parameters
    ----------
    study
        The study's folder, or latest for the newest in studies/.
    response
        What to explain; accuracy, latency, staleness and what else is best known if not given. Repeatable.
    what_if
        Also predict the responses at this level of a factor, as placement=edge or delay=60ms. Repeatable: one a factor.
    next_runs
        How many further runs may be suggested to narrow intervals.
    next
        Write the suggested runs into this file, for `estran study FILE --design`.
    seed
        Of permutations and resamples.
    json
        Print one JSON object.
    """
    import msgspec
    from rich.console import Console

    from estran.cli.listing import find_study
    from estran.explain.table import read_table
    from estran.observe.damage import telling
    from estran.report.explained import print_study_explained
    from estran.report.study_data import gather
    from estran.report.study_page import write_study_page
    from estran.reproduce.claims import judge_all
    from estran.reproduce.observed import evidence

    study = find_study(study)
    with telling(study):
        found = gather(read_table(study), response or (), seed, what_if=what_if, next_runs=next_runs, file=next)
        page = write_study_page(found)
        if json:
            data = {"study": str(study), "page": str(page), **found.plain(), "claims": judge_all(evidence(study))}
            sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
            return
        print_study_explained(Console(emoji=False), found)
        print(f"→ {page}")


def compare(
    a: str,
    b: str,
    /,
    *,
    response: Annotated[list[str] | None, Parameter(negative=())] = None,
    margin: str = "5%",
    out: Path = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Say how the responses of two runs or two studies differ, whether B is better, worse or equivalent, and what else differs.

    Parameters
    ----------
    a
        A run folder, a run's id (or the beginning of it), or `latest`; or the folder of a study.
    b
        What is compared with it: a run, or a study with points in common. Other platforms, other versions, other settings.
    response
        What to compare; all that both measured if not given (a terminal shows those of the whole run). Repeatable.
    margin
        Relative difference that counts as none.
    out
        Where runs are that are named by their id.
    json
        Print one JSON object.
    """
    import msgspec
    from rich.console import Console

    from estran.cli.listing import find_run
    from estran.cli.predict import fraction
    from estran.explain.compare import compare as compared
    from estran.explain.explanation import plain
    from estran.observe.damage import telling
    from estran.report.compared import print_comparison
    from estran.report.differing import print_differences
    from estran.reproduce.differences import differences
    from estran.reproduce.facts import representatives

    sides = [Path(side) if Path(side).is_dir() else find_run(side, out) for side in (a, b)]
    with telling(*sides):
        found = compared(*sides, responses=tuple(response or ()), margin=fraction(margin))
        pair = representatives(*sides)
        facts = None if pair is None else differences(*pair)
        if json:
            data = plain(found) | {"facts": None if facts is None else facts.plain()}
            sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
            return
        print_comparison(Console(emoji=False), found, parts=bool(response) or all("@" in one.response for one in found.differences))
        if facts is not None:
            print_differences(Console(emoji=False), facts)
