from __future__ import annotations

import json
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from estran.observe import installed as module
from estran.observe.installed import home, installed, lock_files, source


def test_all_distributions_with_their_versions() -> None:
    found = {one["name"]: one["version"] for one in installed()["distributions"]}
    wanted = {str(one.metadata["Name"]).lower().replace("_", "-").replace(".", "-"): one.version for one in distributions()}
    assert found == {name: found[name] for name in wanted if name in found}
    assert set(wanted) == set(found)
    assert found["numpy"] == wanted["numpy"]


def test_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name, origin in {
        "my_tool-1.0": {"url": "https://me:pass@git.example.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
        "own-2.0": {"url": tmp_path.as_uri(), "dir_info": {"editable": True}},
        "plain-3.0": None,
    }.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        if origin:
            (tmp_path / f"{name}.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    found = module.installed.__wrapped__()["distributions"]
    assert found[0] == {"name": "my-tool", "version": "1.0", "url": "https://<hidden>@git.example.org/t.git", "commit": "abc"}
    assert (found[1]["name"], found[1]["editable"]) == ("own", True)
    assert found[2] == {"name": "plain", "version": "3.0"}


def test_the_hash_of_estran_is_of_its_own_files() -> None:
    assert source() == source.__wrapped__()
    assert source().startswith("sha256:")


def test_home_is_nobody_elses_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    assert home("/home/jane/x/y.yaml") == "~/x/y.yaml"
    assert home("/home/janet/x") == "/home/janet/x"


def test_lock_files(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "requirements-dev.txt").write_text("a")
    (tmp_path / "uv.lock").write_text("b")
    assert lock_files(folder, tmp_path) == [folder / "requirements-dev.txt", tmp_path / "uv.lock"]
    assert lock_files(folder, None) == [folder / "requirements-dev.txt"]
