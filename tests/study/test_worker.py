"""The process that makes runs: what it does when nobody listens any more."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, cast

import pytest

from estran.study import worker


def test_it_ends_quietly_when_its_study_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = list[str]()
    monkeypatch.setattr(worker.Workshop, "make", lambda _, task: made.append(task["named"]) or "done")
    before = signal.getsignal(signal.SIGTERM)

    def answer(status: str) -> None:
        raise BrokenPipeError

    try:
        worker.serve(cast(Any, [{"named": "1"}, {"named": "2"}]), answer)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert made == ["1"]
