"""The bar of a simulation by costs alone."""

from __future__ import annotations

import io

from rich.console import Console

from estran.cli.flow_progress import flow_progress_on


def shown(*, terminal: bool, quiet: bool) -> str:
    out = io.StringIO()
    with flow_progress_on(Console(file=out, force_terminal=terminal, width=110), "million", quiet=quiet) as progress:
        progress.phase("simulate", None)
        progress.live({"simulated": 30.0, "of": 120.0})
        progress.live({"simulated": 60.0, "of": 120.0})
    return out.getvalue()


def test_a_terminal_sees_a_bar_with_the_time_left() -> None:
    text = shown(terminal=True, quiet=False)
    assert "million" in text
    assert "simulate" in text
    assert "50%" in text
    assert "left" in text


def test_logs_see_phases_and_json_nothing() -> None:
    assert shown(terminal=False, quiet=False) == "simulate …\n"
    assert shown(terminal=True, quiet=True) == ""
