"""Verbs that describe: init, examples, learners, check, plan, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

OnOption = Annotated[
    str,
    Parameter(
        name="--on",
        help="The platform: `emulate`, or `emulate:ENGINE` to insist on one of the engines that `estran doctor` lists; `simulate`; "
        "a platform file (`hosts.yaml`); or one that an installed package adds.",
    ),
]
SetOption = Annotated[list[str] | None, Parameter(name="--set", negative=())]
Flag = Parameter(negative=(), show_default=False)
JsonOption = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


def init(folder: Path = Path(), /, *, example: str = "visual-inspection") -> None:
    """Write a ready-to-run experiment into a folder.

    Parameters
    ----------
    folder
        Where to; files that are already there are never overwritten.
    example
        One of those that `estran examples` lists.
    """
    from estran.cli.examples import write_example

    for path in write_example(example, folder):
        print(path)
    print(f"→ estran run {folder / 'experiment.yaml'}", file=sys.stderr)


def examples() -> None:
    """List the examples that `init` can write."""
    from estran.cli.examples import all_examples

    for name, summary in all_examples().items():
        print(f"{name}\t{summary}")


def learners(*, family: str | None = None, json: JsonOption = False) -> None:
    """List learners, by family: order, cost, settings, source.

    Costs are per sample, with d features (nonzero ones, in sparse rows) and K classes (1 where there are two).

    Parameters
    ----------
    family
        Only those of one family.
    json
        Print one JSON object instead of a table.
    """
    from estran.cli.learners import print_learners

    print_learners(family=family, json=json)


def check(file: str, /, *, set_: SetOption = None) -> None:
    """Find all errors of an experiment file, each at file:line:column.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    set_
        `path=value`: choose a factor's level, or change a place in the document. Repeatable.
    """
    from estran.errors import RequestError
    from estran.run.prepare import planned, read_experiment

    experiment, _ = read_experiment(file, overrides=set_ or ())
    try:
        warnings = list(planned(experiment).warnings)
    except RequestError as error:
        warnings = [f"{error.what}: links and routing are not looked at"]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{file}: ok", file=sys.stderr)


def plan(file: str, /, *, on: OnOption = "emulate", set_: SetOption = None, json: JsonOption = False) -> int:
    """Show hosts, links and placements, and what the platform cannot do.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    set_
        `path=value`: choose a factor's level, or change a place in the document. Repeatable.
    json
        Print one JSON object instead of tables.
    """
    from dataclasses import asdict

    from estran.cli.planned import cost_of, print_plan
    from estran.run.prepare import plain_plan, prepare

    prepared = prepare(file, overrides=set_ or (), on=on)
    if json:
        import msgspec

        problems = [asdict(problem) for problem in prepared.problems]
        data = plain_plan(prepared.plan) | {"platform": on, "cost": cost_of(prepared), "problems": problems}
        print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())
    else:
        print_plan(prepared)
    return 2 if any(problem.fatal for problem in prepared.problems) else 0


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    import json

    from estran.spec import json_schema

    print(json.dumps(json_schema(), indent=2))
