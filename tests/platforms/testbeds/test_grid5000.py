"""EnOSlib's own provider for Grid'5000 against an API on this machine, as far as no node is reached."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from estran.errors import EstranError, PlatformError
from estran.platforms.testbeds.inventory import Inventory
from estran.platforms.testbeds.ledger import entries, ledger_folder, opened
from estran.platforms.testbeds.models import Grid5000File
from estran.platforms.testbeds.provisioning import ProvisionError, provision
from estran.platforms.testbeds.reservation import release_forgotten, reserved
from estran.run.cleaning import clean_leftovers
from tests.platforms.testbeds.conftest import missing
from tests.platforms.testbeds.fake_api import PASSWORD, USER, Call, Fault
from tests.platforms.testbeds.fake_g5k import KO, FakeGrid5000

pytestmark = pytest.mark.skipif(bool(missing("g5k")), reason=str(missing("g5k")))


@pytest.fixture
def api(home: Path) -> Iterator[FakeGrid5000]:
    with FakeGrid5000() as api:
        credentials(home, api)
        yield api


def credentials(home: Path, api: FakeGrid5000, password: str = PASSWORD) -> None:
    text = f"uri: {api.url}/stable\nusername: {USER}\npassword: {password}\nverify_ssl: false\n"
    (home / ".python-grid5000.yaml").write_text(text)


BASE = {
    "platform": "testbed", "provider": "g5k", "job": "tide", "walltime": "1h", "wait": "30s", "jump": False,
    "layers": {"cloud": {"cluster": "azur", "nodes": 2}},
}  # fmt: skip


def asked(**changes: Any) -> Grid5000File:
    return Grid5000File.model_validate(BASE | changes)


async def refused(file: Grid5000File) -> EstranError:
    with pytest.raises(PlatformError) as raised:
        async with reserved(file):
            pass
    return raised.value


@pytest.mark.parametrize(
    ("changes", "settings", "kind", "words"),
    [
        ({"layers": {"edge": {"cluster": "azur", "nodes": 4}}}, {}, "no-resources", "not enough resources"),
        ({"layers": {"edge": {"cluster": "nowhere"}}}, {}, "configuration", "azur, brume, craie"),
        ({"start": "2031-01-01 10:00:00"}, {"refusal": KO}, "too-late", "2031-02-03 04:05:06"),
        ({"start": "2001-01-01 10:00:00"}, {"refusal": "Reservation too old"}, "too-late", "in the past"),
        ({}, {"begins": time.time() + 7200}, "too-late", "would begin at"),
        ({}, {"fate": "error"}, "job-ended", "'error'"),
        ({}, {"fate": "terminated"}, "job-ended", "'terminated'"),
    ],
    ids=["no free node", "no such cluster", "later", "past", "busy", "error", "killed"],
)
async def test_what_cannot_be_had_is_said_and_nothing_is_left(
    api: FakeGrid5000, changes: dict[str, Any], settings: dict[str, Any], kind: str, words: str
) -> None:
    for name, value in settings.items():
        setattr(api, name, value)
    error = await refused(asked(**changes))
    assert isinstance(error, ProvisionError)
    assert error.kind == kind
    assert words in str(error)
    assert error.remedy
    assert not api.alive()
    assert not entries()


async def test_an_api_that_fails_for_a_moment_is_asked_again(api: FakeGrid5000) -> None:
    api.fate, api.looks = "terminated", 3
    api.faults = [Fault("GET", "/sites$", 429, times=2), Fault("POST", "/jobs$", 503, after=True)]
    told: list[str] = []
    with pytest.raises(ProvisionError, match="'terminated'"):
        async with reserved(asked(), report=told.append):
            pass
    assert sum("429" in line for line in told) == 2
    assert any("submitting jobs" in line and "503" in line for line in told)
    assert len(api.jobs) == 1, "the job whose answer was lost was submitted again"


async def test_an_api_that_stays_away_is_given_up(api: FakeGrid5000) -> None:
    api.faults = [Fault("GET", "/clusters$", 429, times=1000)]
    error = await refused(asked(patience="0s"))
    assert isinstance(error, ProvisionError)
    assert error.kind == "api"
    assert "429" in error.what


async def test_an_api_that_keeps_silent_is_given_up(api: FakeGrid5000, tmp_path: Path) -> None:
    api.faults = [Fault("GET", "/sites$", silence=5.0, times=1000)]
    with pytest.raises(ProvisionError, match="does not answer"):
        await provision("state", {**asked(patience="0s").request(), "answer": 0.3}, tmp_path / "log", print)


@pytest.mark.parametrize("password", ["guess", None])
async def test_bad_credentials_are_said_without_telling_them(api: FakeGrid5000, home: Path, password: str | None) -> None:
    if password is None:
        (home / ".python-grid5000.yaml").unlink()
    else:
        credentials(home, api, password)
    error = await refused(asked())
    assert isinstance(error, ProvisionError)
    assert error.kind == "credentials"
    assert "guess" not in str(error)
    assert not entries()


async def test_a_reservation_that_was_not_made_here_is_left_alone(api: FakeGrid5000) -> None:
    api.looks = 1000
    api._submit(
        Call(
            ("midi",),
            {},
            {"name": "tide", "types": [], "queue": "default", "resources": "{cluster='azur'}/nodes=1,walltime=1:00:00"},
            {},
        )
    )
    error = await refused(asked())
    assert isinstance(error, ProvisionError)
    assert error.kind == "taken"
    assert len(api.alive()) == 1
    assert not entries()


async def test_an_advance_reservation_is_waited_for_and_given_back_if_interrupted(api: FakeGrid5000) -> None:
    tomorrow = time.time() + 86400
    api.begins = tomorrow
    start = datetime.fromtimestamp(tomorrow, ZoneInfo("Europe/Paris")).strftime("%Y-%m-%d %H:%M:%S")
    waiting = asyncio.Event()

    async def reserve() -> None:
        async with reserved(asked(start=start), report=lambda text: waiting.set() if "to begin at" in text else None):
            pass

    task = asyncio.create_task(reserve())
    await waiting.wait()
    assert [job["reservation"] for job in api.alive()] == [start]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not api.alive()


async def test_what_could_not_be_given_back_is_given_back_by_clean(api: FakeGrid5000) -> None:
    api.fate = "error"
    api.faults = [Fault("GET", "/jobs$", 400, times=0)]

    def cut(text: str) -> None:
        if "Submitting" in text:
            api.faults = [Fault("DELETE", "/jobs/", 400, times=1000), Fault("GET", "/sites/nord/jobs$", 404, times=1000)]

    api.looks = 1000
    with pytest.raises(PlatformError, match="could not be given back") as raised:
        async with reserved(asked(wait="0s"), report=cut):
            pass
    assert "estran clean" in str(raised.value)
    assert "midi" in str(raised.value)
    assert "nord" in str(raised.value)
    assert len(api.alive()) == 1
    api.faults = []
    assert await release_forgotten() == ["g5k-tide: gave back job 1000 on midi"]
    assert not api.alive()
    assert not entries()


KILLED = """
import asyncio, json, sys
from estran.platforms.testbeds.models import Grid5000File
from estran.platforms.testbeds.reservation import reserved

async def run():
    async with reserved(Grid5000File.model_validate(json.loads(sys.argv[1])), report=lambda text: print(text, flush=True)):
        pass

asyncio.run(run())
"""


def provisioners() -> list[Path]:
    """Processes that work in this test's ledger."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").resolve() == ledger_folder():
                found.append(process)
    return found


async def test_what_a_killed_run_left_is_given_back_by_clean(api: FakeGrid5000) -> None:
    api.begins = time.time() + 20
    command = [sys.executable, "-c", KILLED, json.dumps(BASE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "to begin at" in line:
                break
        assert [used for _, used in entries()] == [True]
        run.kill()
    while provisioners():  # they end by themselves, for nobody would hear of what they reserve
        await asyncio.sleep(0.05)
    assert len(api.alive()) == 1
    assert [used for _, used in entries()] == [False]
    assert await asyncio.to_thread(clean_leftovers) == ["g5k-tide: gave back job 1000 on midi"]
    assert not api.alive()
    assert not entries()


async def test_nothing_can_be_reloaded_where_nothing_is(api: FakeGrid5000, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="no reservation called 'tide'") as raised:
        await provision("reload", asked().request(), tmp_path / "log", print)
    assert raised.value.kind == "no-resources"
    assert not api.jobs


async def test_two_runs_cannot_use_one_reservation(api: FakeGrid5000) -> None:
    with opened(asked().request()), pytest.raises(PlatformError, match="in use by another run"):
        async with reserved(asked()):
            pass
    assert not api.requests


async def test_sites_are_reserved_together_or_not_at_all(api: FakeGrid5000) -> None:
    error = await refused(asked(layers={"edge": {"cluster": "craie", "nodes": 3}, "cloud": {"cluster": "azur"}}))
    assert "all sites" in str(error)
    assert not api.alive()


async def test_the_end_of_the_walltime_is_told() -> None:
    assert await Inventory((), ends_at=time.time() + 0.05).ended() == "the reservation's walltime is over"
