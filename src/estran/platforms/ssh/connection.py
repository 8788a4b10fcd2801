"""An envoy at the other end of an SSH connection, made by asyncssh or by the user's own OpenSSH."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estran.errors import PlatformError, RequestError
from estran.platforms.remote.bootstrap import attended, program, shell_line
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import RemoteHost
from estran.platforms.ssh.complaints import complaint, place, remedy
from estran.platforms.ssh.target import Target

if TYPE_CHECKING:
    import asyncssh

KEEPALIVE: Final = 15
LAST_WORDS: Final = 2.0


@asynccontextmanager
async def reached(target: Target, mark: str) -> AsyncIterator[RemoteHost]:
    """A host with an envoy on it, for as long as the context lasts.

    Parameters
    ----------
    mark
        Value of ``ESTRAN_RUN`` of all that is started there.

    Raises
    ------
    PlatformError
        If it cannot be reached, with the cause and a remedy.
    RequestError
        If the SSH client that is asked for is not installed here.
    """
    for key in target.keys:
        if not Path(key).expanduser().is_file():  # noqa: ASYNC240 - a stat of a local file
            raise RequestError(f"there is no key {key}", where=place(target), remedy="correct `key:` in the platform file")
    async with _over_openssh(target, mark) if target.client == "openssh" else _over_asyncssh(target, mark) as host:
        yield host


@asynccontextmanager
async def _over_asyncssh(target: Target, mark: str) -> AsyncIterator[RemoteHost]:
    connection = await _connected(target)
    async with connection:
        sent = program(mark)
        process = await connection.create_process(shell_line(len(sent), target.python), encoding=None, env={})
        with suppress(BrokenPipeError):  # it has ended already: what it said tells why
            process.stdin.write(sent)
        link = FrameLink(_AsyncsshReader(process.stdout), process.stdin)

        async def why() -> PlatformError:
            said = await process.stderr.read()
            await process.wait_closed()
            return complaint(target, said.decode(errors="replace"), process.exit_status)

        async with _envoy(target, link, why) as host:
            yield host


async def _connected(target: Target) -> asyncssh.SSHClientConnection:
    try:
        import asyncssh
    except ImportError:
        raise RequestError(
            "asyncssh is not installed", where=place(target), remedy="pip install 'estran[ssh]', or write `client: openssh`"
        ) from None
    from estran.platforms.ssh.keys import Verifier

    verify = Verifier(target)
    options: dict[str, Any] = {"kex_algs": "^curve25519-sha256", "connect_timeout": target.timeout, "keepalive_interval": KEEPALIVE}
    options |= {"client_factory": lambda: verify, "known_hosts": verify.known_hosts}
    chosen = {
        "port": target.port,
        "username": target.user,
        "client_keys": _paths(target.keys),
        "tunnel": target.jump,
    }
    options |= {name: value for name, value in chosen.items() if value}
    try:
        return await asyncssh.connect(target.host, **options)
    except asyncssh.HostKeyNotVerifiable:
        raise verify.complaint() from None
    except asyncssh.PermissionDenied:
        raise complaint(target, "Permission denied") from None
    except asyncssh.KeyImportError as error:
        raise PlatformError(f"a key cannot be used: {error}", where=place(target), remedy=remedy(target, "key")) from None
    except (asyncssh.Error, TimeoutError) as error:
        raise complaint(target, str(error) or "timed out") from None
    except OSError as error:
        raise complaint(target, os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)) from None


@asynccontextmanager
async def _over_openssh(target: Target, mark: str) -> AsyncIterator[RemoteHost]:
    sent = program(mark)
    process = await asyncio.create_subprocess_exec(
        *_command(target), shell_line(len(sent), target.python),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("all three are pipes")
    errors = process.stderr
    process.stdin.write(sent)

    async def why() -> PlatformError:
        said = await errors.read()
        return complaint(target, said.decode(errors="replace"), await process.wait())

    try:
        async with _envoy(target, FrameLink(process.stdout, process.stdin), why) as host:
            yield host
    finally:
        try:
            await asyncio.wait_for(process.wait(), LAST_WORDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def _paths(keys: Sequence[str]) -> list[str]:
    return [str(Path(key).expanduser()) for key in keys]


def _command(target: Target) -> list[str]:
    options = ["BatchMode=yes", f"ConnectTimeout={target.timeout:g}", f"ServerAliveInterval={KEEPALIVE}"]
    if target.note is not None:
        options += ["StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={target.note}"]
    elif target.known_hosts == "accept-new":
        options.append("StrictHostKeyChecking=accept-new")
    elif target.known_hosts is not None:
        options.append(f"UserKnownHostsFile={Path(target.known_hosts).expanduser()}")
    argv = ["ssh", "-T", *(part for option in options for part in ("-o", option))]
    argv += ["-p", str(target.port)] if target.port is not None else []
    argv += ["-l", target.user] if target.user is not None else []
    argv += [part for key in _paths(target.keys) for part in ("-o", "IdentitiesOnly=yes", "-i", key)]
    argv += ["-J", target.jump] if target.jump is not None else []
    return [*argv, "--", target.host]


@asynccontextmanager
async def _envoy(target: Target, link: FrameLink, why: Callable[[], Any]) -> AsyncIterator[RemoteHost]:
    async def lost() -> PlatformError:
        try:
            async with asyncio.timeout(LAST_WORDS):
                said: PlatformError = await why()
                return said
        except TimeoutError:
            return complaint(target, "")

    try:
        async with asyncio.timeout(target.timeout + LAST_WORDS):  # OpenSSH's own comes first
            await link.await_envoy()
    except TimeoutError:
        raise PlatformError(
            f"no envoy came up within {target.timeout:g}s",
            where=place(target), remedy="see whether its login shell or its Python hangs",
        ) from None  # fmt: skip
    except (asyncio.IncompleteReadError, OSError):
        raise await lost() from None
    async with attended(RemoteHost(target.name, link), lost) as host:
        yield host


class _AsyncsshReader:
    """Raises what `asyncio.StreamReader` does when the connection is lost."""

    def __init__(self, reader: asyncssh.SSHReader[bytes]) -> None:
        self._reader = reader

    async def readexactly(self, n: int, /) -> bytes:
        import asyncssh

        try:
            return await self._reader.readexactly(n)
        except asyncssh.Error as error:
            raise ConnectionError(str(error)) from error


@asynccontextmanager
async def all_reached(targets: Mapping[str, Target], mark: str) -> AsyncIterator[Mapping[str, RemoteHost]]:
    """Hosts by name, connected side by side, each with a mark of its own: two may be on one machine.

    Raises
    ------
    PlatformError
        Naming every host that cannot be reached, not just the first.
    """
    stacks = {name: AsyncExitStack() for name in targets}
    try:
        found = await asyncio.gather(
            *(stacks[name].enter_async_context(reached(target, f"{mark}.{name}")) for name, target in targets.items()),
            return_exceptions=True,
        )
        _complain([one for one in found if isinstance(one, BaseException)])
        yield {name: one for name, one in zip(targets, found, strict=True) if isinstance(one, RemoteHost)}
    finally:
        await asyncio.gather(*(stack.aclose() for stack in stacks.values()), return_exceptions=True)


def _complain(errors: list[BaseException]) -> None:
    """Raise the only error as it is; of several, one that tells them all."""
    others = [error for error in errors if not isinstance(error, PlatformError)]
    if others or len(errors) == 1:
        raise (others or errors)[0]
    if errors:
        ours = [error for error in errors if isinstance(error, PlatformError)]
        told = "; ".join(f"{error.where}: {error.what}" for error in ours)
        remedies = dict.fromkeys(error.remedy for error in ours if error.remedy)
        raise PlatformError(f"{len(ours)} hosts cannot be used: {told}", remedy="; ".join(remedies) or None)
