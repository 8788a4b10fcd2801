"""The verbs of `estran testbeds`, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from estran.cli.main import app
from estran.errors import EstranError
from estran.platforms.testbeds.environment import EXTRAS, VARIABLE
from estran.platforms.testbeds.ledger import opened
from tests.platforms.testbeds.conftest import missing
from tests.platforms.testbeds.fake_g5k import FakeGrid5000
from tests.platforms.testbeds.test_grid5000 import asked, credentials

here = pytest.mark.skipif(bool(missing("g5k")), reason=str(missing("g5k")))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app(["testbeds", *words], exit_on_error=False, print_error=False, result_action="return_value")
    return capsys.readouterr().out


@pytest.fixture
def api(home: Path) -> Iterator[FakeGrid5000]:
    with FakeGrid5000() as api:
        credentials(home, api)
        yield api


def test_what_is_not_installed_is_listed_with_the_remedy(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(home / "nowhere"))
    assert "iotlab\tnot installed: `estran testbeds install --with iotlab`" in told(capsys, "list")
    assert json.loads(told(capsys, "list", "--json"))["providers"] == dict.fromkeys(EXTRAS, False)
    file = home / "tide.yaml"
    file.write_text("platform: testbed\nprovider: g5k\nlayers: {edge: {cluster: azur}}\n")
    with pytest.raises(EstranError, match="testbeds are not installed") as raised:
        told(capsys, "reserve", str(file))
    assert raised.value.remedy == "run `estran testbeds install`"
    with pytest.raises(EstranError, match="there is no testbed 'mars'"):
        told(capsys, "install", "--with", "mars")


@here
def test_what_is_reserved_is_shown_and_released(api: FakeGrid5000, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "status") == ""
    with opened(asked(keep=True).request()):
        assert told(capsys, "status") == "g5k-tide\tin use\tnothing is reserved any more\n"
    (one,) = json.loads(told(capsys, "status", "--json"))["reservations"]
    assert (one["name"], one["use"], one["jobs"]) == ("g5k-tide", "kept", [])
    assert told(capsys, "release", "tide") == ""
    with pytest.raises(EstranError, match="there is no reservation 'tide'"):
        told(capsys, "release", "tide")


def test_editors_get_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(told(capsys, "schema"))
    jsonschema.validate({"platform": "testbed", "provider": "g5k", "layers": {"edge": {"cluster": "azur"}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"platform": "testbed", "provider": "g5k", "layers": {}}, schema)
