"""Brings archives to hosts, unpacked into folders that stay there: what was brought once is there for all runs that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

from estran.errors import PlatformError
from estran.platforms.remote import envoy_unpacking
from estran.platforms.remote.packing import Archive

UNPACKING: Final = "estran_unpacking"


class Keeping(Protocol):
    """What is needed of a host; `estran.platforms.remote.host.RemoteHost` has it."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> Any: ...

    async def load(self, module: str, source: str, /) -> None:
        """Teach its envoy a module."""
        ...

    async def call(self, function: str, *, data: bytes = b"", answer: Any = Any, **details: Any) -> Any:
        """Call a function of a module that its envoy was taught."""
        ...

    async def put(self, local: Path, remote: str, /, *, mode: int | None = None) -> str:
        """Copy a file to it."""
        ...


async def teach(host: Keeping) -> None:
    """Teach a host's envoy to unpack and to pack."""
    await host.load(UNPACKING, Path(envoy_unpacking.__file__).read_text(encoding="utf-8"))  # noqa: ASYNC240 - a small file of our own


def place_of(host: Keeping, archive: Archive) -> str:
    """The folder on a host into which an archive is unpacked."""
    return f"{host.facts['cache']}/{archive.folder}"


async def bring(host: Keeping, archive: Archive) -> bool:
    """Send an archive unless what it holds is there; whether it was sent. The envoy must have been taught.

    Raises
    ------
    PlatformError
        If it cannot be unpacked there.
    """
    folder = place_of(host, archive)
    if await host.call(f"{UNPACKING}.is_unpacked", answer=bool, folder=folder):
        return False
    incoming = f"{host.facts['scratch']}/{archive.path.name}"
    await host.put(archive.path, incoming)
    try:
        await host.call(f"{UNPACKING}.unpack", archive=incoming, folder=folder)
    except PlatformError as error:
        raise PlatformError(
            f"cannot unpack {archive.path.name}: {error.what}", where=host.name, remedy="free some space there"
        ) from error
    return True
