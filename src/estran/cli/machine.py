"""Verbs about this machine: doctor and clean."""

from __future__ import annotations

import sys

from estran.cli.describe import JsonOption


def doctor(*, json: JsonOption = False) -> int:
    """Show what this machine can emulate, rung by rung, what is chosen and why.

    Parameters
    ----------
    json
        Print one JSON object instead of tables.
    """
    import asyncio

    from estran.cli.checkup import print_checkup
    from estran.platforms.emulated.survey import survey

    found = asyncio.run(survey())
    if json:
        import msgspec

        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        print_checkup(found)
    return 0 if found.usable else 1


def clean() -> int:
    """Remove what a killed run left behind: processes, control groups, unfinished stores, nodes of testbeds."""
    from estran.run.cleaning import clean_leftovers

    done = clean_leftovers()
    for line in done:
        print(line)
    if not done:
        print("nothing was left behind", file=sys.stderr)
    return 0
