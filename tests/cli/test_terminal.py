"""A run on the terminal: drawn in place, or line by line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from estran.cli import terminal
from tests.report.synthetic import Scene, write_run
from tests.web.growing import Growing


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "e" / "done", Scene(duration=8))


def console(*, tty: bool, kind: str = "xterm") -> Console:
    return Console(file=io.StringIO(), force_terminal=tty, width=80, height=24, _environ={"TERM": kind}, no_color=True)


@pytest.mark.parametrize("kind", ["", "dumb"])
def test_where_nothing_can_be_drawn_in_place_lines_are_told(done: Path, kind: str) -> None:
    screen = console(tty=bool(kind), kind=kind)
    terminal.follow(screen, done)
    said = screen.file.getvalue()
    lines = said.splitlines()
    assert "\x1b" not in said
    assert lines[0] == "provision …"
    assert lines[-1] == "✓ done"
    assert "accuracy" in said
    assert len(lines) == len(set(lines))


def test_a_run_that_goes_on_is_followed_to_its_end(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = Growing(done, tmp_path / "e" / "r")
    growing.until(3.0)
    growing.store.add("events", [(2.5, "fog-0", "detector-0", "restarted", "attempt 1 of 5 after exit status 3")])
    growing.store.flush()
    times = iter([5.0, 7.0])

    def passing(_: float) -> None:
        moment = next(times, None)
        if moment is None:
            growing.end()
        else:
            growing.until(moment)

    monkeypatch.setattr(terminal.time, "sleep", passing)
    monkeypatch.setattr("estran.web.following.FRESH", 0.0)
    screen = console(tty=False)
    terminal.follow(screen, growing.folder)
    said = screen.file.getvalue()
    assert "! detector-0 was restarted once" in said
    assert said.splitlines()[-1] == "✓ done"


@pytest.mark.parametrize("height", [10, 24, 60])
def test_a_view_fits_the_terminal(done: Path, tmp_path: Path, height: int) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=height, no_color=True)
    run = terminal.Following(done)
    (state,) = terminal._states(run)
    state["alerts"] = [{"kind": "x", "level": "warn", "what": "long " * 40, "time": 1.0}] * 20
    lines = screen.render_lines(terminal.View(state), pad=False)
    assert len(lines) <= max(height, 14)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert "visual-inspection" in text
    assert "fog-0" in text or height == 10
    assert "long long" in text
