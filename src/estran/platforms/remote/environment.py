"""Gives a host the Python, the packages and the files that an experiment's components need there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.remote import packing
from estran.platforms.remote.bringing import bring, place_of, teach
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.packing import Archive, Kind

NEEDED: Final = (3, 11)
NEEDED_MODULES: Final = ("msgspec", "numba", "numpy", "pydantic", "zenoh")


@dataclass(frozen=True, slots=True)
class Environment:
    """What is there on one host, by paths of that host.

    Attributes
    ----------
    python
        The interpreter that is used.
    path
        Folders of modules: Estran's, and that of the packages.
    experiment
        The copy of the experiment's folder.
    sent
        How many archives had to be sent; the others were there.
    """

    python: str
    path: tuple[str, ...]
    experiment: str
    sent: int

    def variables(self) -> dict[str, str]:
        """Environment variables under which its Python finds everything."""
        return {"PYTHONPATH": ":".join(self.path), "PYTHONNOUSERSITE": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Supplies:
    """What all hosts of a run need: archives are made once, and once for each kind of host.

    Parameters
    ----------
    folder
        The experiment's.
    packages
        Names of distributions that are needed beside Estran.
    shipped
        Whether packages are brought; otherwise the Python that the host's envoy runs in must have them.
    """

    def __init__(self, folder: Path, packages: Sequence[str] = (), *, shipped: bool = True) -> None:
        self._folder = folder
        self._packages = tuple(packages)
        self._shipped = shipped
        self._made: dict[Any, asyncio.Task[Archive]] = {}

    async def provide(self, host: RemoteHost) -> Environment:
        """Bring to a host what it has not yet.

        Raises
        ------
        PlatformError
            If its Python is too old, or something cannot be brought.
        RequestError
            If the controller has not what is to be brought.
        """
        python, version = interpreter(host.facts, host.name) if self._shipped else await _own_interpreter(host)
        making = [
            self._once("experiment", lambda: packing.experiment(self._folder)),
            self._once("estran", packing.estran_itself),
        ]
        if self._shipped:
            kind = Kind.of(version, host.facts)
            making.append(self._once(kind, lambda: packing.packages(kind, packing.locked(self._packages))))
        archives = await asyncio.gather(*making)
        await teach(host)
        places = [place_of(host, archive) for archive in archives]
        sent = [await bring(host, archive) for archive in archives]
        return Environment(python, tuple(places[1:]), places[0], sum(sent))

    async def _once(self, key: Any, make: Any) -> Archive:
        if key not in self._made:
            self._made[key] = asyncio.create_task(asyncio.to_thread(make))
        return await asyncio.shield(self._made[key])


def interpreter(facts: Mapping[str, Any], host: str) -> tuple[str, str]:
    """The newest Python of a host that is new enough, preferring the controller's version, and its version.

    Raises
    ------
    PlatformError
        If there is none.
    """
    found = {facts["executable"]: facts["python"], **facts["pythons"]}
    fit = {path: version for path, version in found.items() if tuple(map(int, version.split(".")[:2])) >= NEEDED}
    if not fit:
        raise PlatformError(
            f"its newest Python is {max(found.values())}, and components need {'.'.join(map(str, NEEDED))}",
            where=host, remedy="install a newer one there, such as `uv python install 3.11`, or say where it is with `python:`",
        )  # fmt: skip
    own = Kind.own().python
    return max(fit.items(), key=lambda item: (tuple(map(int, item[1].split(".")[:2])) == own, item[1]))


async def _own_interpreter(host: RemoteHost) -> tuple[str, str]:
    """The Python of the host's envoy, if it is new enough and has what Estran needs."""
    python, version = str(host.facts["executable"]), str(host.facts["python"])
    interpreter({**host.facts, "pythons": {}}, host.name)
    done = await host.run([python, "-c", f"import {', '.join(NEEDED_MODULES)}"])
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PlatformError(
            f"its {python} has not what Estran needs: {' '.join(said)}",
            where=host.name, remedy="install Estran there, or leave out `environment: installed`",
        )  # fmt: skip
    return python, version
