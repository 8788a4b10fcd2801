"""Making a record again: the same verb with the same options, as a process of the environment that was chosen."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from estran.errors import EstranError, RequestError
from estran.reproduce.rebuilding import Environment

MODULE = "estran.cli.main"
_KEPT = 4000
"""Last characters of what a process complained of that are told."""


def rerun(environment: Environment, arguments: Sequence[str], out: Path) -> Path:
    """Run ``estran``; returns the folder of the run or the study that it made, whether or not that succeeded.

    Parameters
    ----------
    arguments
        The verb and its options.
    out
        Folder for what is made.

    Raises
    ------
    EstranError
        If nothing was made; with what was complained of; a `RequestError` if it cannot be made here.
    KeyboardInterrupt
        If it was interrupted; what was going on has ended.
    """
    command = [str(environment.python), "-P", "-m", MODULE, *arguments, "--out", str(out), "--json"]
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environment.variables)
        ) as process,
        _ended_with(process),
    ):
        told, complaint = process.communicate()
    folder = _folder(told)
    if folder is None:
        said = complaint.decode("utf-8", "replace").strip()[-_KEPT:]
        kind = RequestError if process.returncode == RequestError.exit_code else EstranError
        raise kind(
            f"it could not be made again: {said or f'exit status {process.returncode}'}",
            where="estran " + " ".join(arguments[:2]),
            remedy="see what is complained of",
        )
    return folder


@contextmanager
def _ended_with(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process in good order if this one is asked to end; the terminal tells both of Ctrl-C by itself."""

    def forward(number: int, _: Any) -> None:
        process.terminate()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        process.wait()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _folder(told: bytes) -> Path | None:
    try:
        result = msgspec.json.decode(told, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
    folder = result.get("folder") or result.get("study")
    return Path(folder) if isinstance(folder, str) else None
