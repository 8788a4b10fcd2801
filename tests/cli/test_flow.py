"""`estran run --on simulate --detail flow`, as users see it."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from estran.cli import flow
from tests.platforms.simulated.flow.experiments import document, relay, sink, source, write
from tests.run.experiments import estran

STREAMS = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]


def run(folder: Path, rate: float, *options: str) -> tuple[int, str, str]:
    services = {"camera": source(rate), "relay": relay("fog", time="10ms"), "end": sink("fog")}
    file = write(folder, document(services, STREAMS, duration="60s", hosts={"edge": 2, "fog": 1}))
    done = estran("run", file, "--on", "simulate", "--detail", "flow", *options, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def test_one_json_object_and_nothing_else(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, 20, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["status"] == "done"


def test_what_is_unstable_is_said_and_exits_1(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, 80)
    assert code == 1
    assert "unstable: utilisation 1.6 at fog/relay" in out + err


def test_a_terminal_sees_a_bar_with_the_time_left() -> None:
    out = io.StringIO()
    with flow._progress(Console(file=out, force_terminal=True, width=110), "million", quiet=False) as progress:
        progress.phase("simulate", None)
        progress.live({"simulated": 30.0, "of": 120.0})
        progress.live({"simulated": 60.0, "of": 120.0})
    assert all(word in out.getvalue() for word in ("million", "simulate", "50%", "left"))
