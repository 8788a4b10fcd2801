"""Verbs about testbeds: what is installed, what is reserved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from estran.cli.describe import JsonOption


def install(*, with_: Annotated[list[str] | None, Parameter(name="--with", negative=())] = None) -> None:
    """Make the environment in which EnOSlib reserves nodes; it is apart from Estran's own.

    Parameters
    ----------
    with_
        Testbeds beside Grid'5000: `iotlab`, `chameleon`, `chameleon-kvm`, `openstack`, `vagrant`; several with commas.
    """
    from estran.platforms.testbeds import environment

    wanted = [name for part in with_ or () for name in part.split(",") if name]
    found = environment.install(wanted, lambda text: print(text, file=sys.stderr))
    print(f"EnOSlib {found.enoslib} is in {environment.environment_folder()}")


def providers(*, json: JsonOption = False) -> None:
    """List testbeds, and whether what they need is installed.

    Parameters
    ----------
    json
        Print one JSON object instead of a table.
    """
    from estran.platforms.testbeds.environment import EXTRAS, environment_folder, install_command, installed
    from estran.platforms.testbeds.file import NOT_BUILT

    found = installed()
    there = {name: found is not None and found.provides(name) for name in EXTRAS}
    if json:
        import msgspec

        version = found.enoslib if found is not None else None
        data = {"folder": str(environment_folder()), "enoslib": version, "providers": there, "not_built": list(NOT_BUILT)}
        print(msgspec.json.encode(data).decode())
        return
    for name, ready in there.items():
        print(f"{name}\t{'installed' if ready else f'not installed: `{install_command(name)}`'}")
    for name, why in NOT_BUILT.items():
        print(f"{name}\tnot built: {why}")


def status(*, json: JsonOption = False) -> int:
    """Show reservations that were made here, and ask their testbeds what has become of them.

    Parameters
    ----------
    json
        Print one JSON object instead of lines.
    """
    import asyncio

    from estran.platforms.testbeds.reservation import states

    found = asyncio.run(states())
    if json:
        import msgspec

        print(msgspec.json.encode({"reservations": found}).decode())
    else:
        for one in found:
            print(f"{one['name']}\t{one['use']}\t{one['said']}")
        if not found:
            print("nothing is reserved", file=sys.stderr)
    return 0 if all(one["jobs"] is not None for one in found) else 1


def reserve(file: Path, /) -> None:
    """Reserve what a platform file asks for, keep it, and print the hosts as JSON; `release` gives it back.

    Parameters
    ----------
    file
        A platform file of kind `testbed`.
    """
    import asyncio

    import msgspec

    from estran.platforms.testbeds.file import cost, read_testbed_file
    from estran.platforms.testbeds.reservation import reserved

    asked = read_testbed_file(file).model_copy(update={"keep": True})

    async def kept() -> None:
        async with reserved(asked, report=lambda text: print(text, file=sys.stderr)) as inventory:
            print(msgspec.json.format(msgspec.json.encode(inventory.plain()), indent=2).decode())

    print(cost(asked) or f"{asked.nodes} nodes of this computer", file=sys.stderr)
    asyncio.run(kept())


def release(job: str, /) -> None:
    """Give back a reservation that was kept.

    Parameters
    ----------
    job
        Its name, as `status` shows it.
    """
    import asyncio

    from estran.platforms.testbeds.reservation import release

    for line in asyncio.run(release(job, lambda text: print(text, file=sys.stderr))):
        print(line)


def schema() -> None:
    """Print the JSON Schema of platform files of kind `testbed`, for editors."""
    import json

    from estran.platforms.testbeds.file import schema_of_testbeds

    print(json.dumps(schema_of_testbeds(), indent=2))
