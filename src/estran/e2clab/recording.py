"""Keeps what tasks did: a line each in `tasks.jsonl`, and what they printed in the log of their host."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from estran.errors import EstranError
from estran.observe.provenance import Provenance
from estran.tasks.result import Result

LONGEST: Final = 20_000
"""Characters kept of a text in `tasks.jsonl`; the host's log has all of it."""
_PRINTED: Final = ("stdout", "stderr", "msg")
_TWICE: Final = ("stdout_lines", "stderr_lines")


_NAMES: Final = r"(?:password|passwd|passphrase|_pass|token|secret|api_?key|credential)"
_SECRET: Final = re.compile(rf"([\w-]*{_NAMES}\w*[\"']?[ ]*:[ ]*)[^\s,}}#][^,}}\n]*", re.IGNORECASE)
HIDDEN: Final = '"(hidden)"'


def without_secrets(text: str) -> str:
    """A file of a scenario as it may be kept: values of keys that name a password, token or the like are hidden.

    Examples
    --------
    >>> without_secrets("registry: {url: a.b, registry_password: xyz, g5k_pass: 1}")
    'registry: {url: a.b, registry_password: "(hidden)", g5k_pass: "(hidden)"}'
    """
    return _SECRET.sub(rf"\1{HIDDEN}", text)


class Recording:
    """Writes both for as long as the context lasts, and tells the run's provenance of each task."""

    def __init__(self, folder: Path, provenance: Provenance) -> None:
        self._folder, self._provenance = folder, provenance
        self._resources = ExitStack()
        self._logs: dict[str, TextIO] = {}
        self.count = 0

    def __enter__(self) -> Self:
        self._lines = self._open("tasks.jsonl")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def _open(self, name: str) -> TextIO:
        try:
            return self._resources.enter_context((self._folder / name).open("a", encoding="utf-8", buffering=1))
        except OSError as error:
            what = f"cannot write {name}: {error.strerror}"
            raise EstranError(what, where=str(self._folder), remedy="free some space") from error

    def add(self, stage: str, result: Result) -> None:
        """Note what one task did on one host."""
        self.count += 1
        self._provenance.ended(f"task/{self.count}/{result.host}", note=result.status)
        data = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "stage": stage, "host": result.host, "task": result.task,
            "module": result.module, "where": str(result.where), "status": result.status, "tier": result.tier,
            "seconds": round(result.seconds, 4), "result": _shortened(result.data),
        }  # fmt: skip
        self._lines.write(json.dumps(data, default=str, ensure_ascii=False) + "\n")
        self._log(result.host).write(f"# {result.where}: {result.task}: {result.status}\n" + _printed(result.data))

    def _log(self, host: str) -> TextIO:
        if host not in self._logs:
            self._logs[host] = self._open(f"logs/{host}.log")
        return self._logs[host]


def _shortened(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value[:LONGEST] + " …" if isinstance(value, str) and len(value) > LONGEST else value
        for key, value in data.items()
        if key not in _TWICE
    }


def _printed(data: Mapping[str, Any]) -> str:
    texts = [str(data[key]).rstrip("\n") for key in _PRINTED if data.get(key)]
    texts += [_printed(part).rstrip("\n") for part in data.get("results", ()) if isinstance(part, Mapping)]
    return "".join(f"{text}\n" for text in texts if text)
