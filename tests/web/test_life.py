"""The server's life, as a process: it begins with a link, and leaves nothing when it, or the run that it shows, ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from estran.web.beside import page_beside
from estran.web.index import key_of

ESTRAN = [sys.executable, "-m", "estran.cli.main"]


def status(link: str) -> int:
    """What opening a link is answered with; 0 where nobody answers."""
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/.*)", link)
    assert found is not None, link
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    try:
        connection.request("GET", found[2])
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def gone(link: str, seconds: float = 15.0) -> bool:
    """Whether nobody answers any more, soon."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if status(link) == 0:
            return True
        time.sleep(0.1)
    return False


@contextmanager
def watching(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``estran watch``, and the link that it prints."""
    command = [*ESTRAN, "watch", *arguments, "--no-browser"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline().removeprefix("the page: ").strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_on_a_signal(root: Path, number: signal.Signals) -> None:
    with watching(".", folder=root) as (process, link):
        assert status(link) == 200
        assert status(link) == 403
        process.send_signal(number)
        assert process.wait(15) == (0 if number == signal.SIGINT else -signal.SIGTERM)
        assert status(link) == 0


def test_a_run_is_named_by_its_folder_or_its_id(root: Path) -> None:
    done = root / "runs" / "visual-inspection" / "done"
    for name in (str(done), "done"):
        with watching(name, folder=root) as (_, link):
            assert link.endswith(f"&to=/run/{key_of(done)}")
    with watching(str(root / "studies" / "placements"), folder=root) as (_, link):
        assert link.endswith(f"&to=/study/{key_of(root / 'studies' / 'placements')}")


def test_what_is_not_there_is_told(root: Path) -> None:
    done = subprocess.run([*ESTRAN, "watch", "absent"], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "there is no run 'absent'" in done.stderr


def test_a_simulated_run_is_replayed_when_it_is_over(tmp_path: Path) -> None:
    subprocess.run([*ESTRAN, "init", "x"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    command = [*ESTRAN, "run", "x", "--on", "simulate", "--watch", "--set", "measure.duration=1s"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        link = next(line for line in process.stderr if line.startswith("the page: ")).removeprefix("the page: ").strip()
        (run,) = (tmp_path / "runs").glob("*/*")
        assert link.endswith(f"&to=/run/{key_of(run)}")
        assert status(link) == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


def test_the_page_beside_a_run_ends_with_it(tmp_path: Path) -> None:
    with page_beside(tmp_path, key_of(tmp_path / "e" / "r")) as link:
        assert link.endswith(f"&to=/run/{key_of(tmp_path / 'e' / 'r')}")
        assert status(link) == 200
    assert status(link) == 0


def test_the_page_beside_a_run_that_is_killed_ends_too(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from estran.web.beside import page_beside\n"
        "with page_beside(Path(sys.argv[1]), '0' * 16) as link: print(link, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        assert status(link) == 200
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert gone(link)


@pytest.mark.parametrize("call", ["watch()", "watched(None, Path('x'), Path('y')).__enter__()"])
def test_what_is_not_installed_is_told(root: Path, call: str) -> None:
    code = (
        f"import sys; sys.modules['uvicorn'] = None; from pathlib import Path; from estran.cli.watch import watch, watched; {call}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the live page needs uvicorn" in done.stderr
    assert "pip install 'estran[web]'" in done.stderr
