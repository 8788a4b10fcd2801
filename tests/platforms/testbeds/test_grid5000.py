"""EnOSlib's own provider for Grid'5000 against an API on this machine, as far as no node is reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, PlatformError
from estran.platforms.testbeds.ledger import entries
from estran.platforms.testbeds.models import Grid5000File
from estran.platforms.testbeds.provisioning import ProvisionError, provision
from estran.platforms.testbeds.reservation import release_forgotten, reserved
from tests.platforms.testbeds.conftest import missing
from tests.platforms.testbeds.fake_api import PASSWORD, USER, Fault
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


def asked(**changes: Any) -> Grid5000File:
    base = {"platform": "testbed", "provider": "g5k", "job": "tide", "walltime": "1h", "wait": "30s", "jump": False}
    return Grid5000File.model_validate(base | {"layers": {"cloud": {"cluster": "azur", "nodes": 2}}} | changes)


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
