from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from estran.observe import repository as repository_module
from estran.observe.repository import git_state, repository, root_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a commit, and an experiment below it."""
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "raw.bin").write_bytes(bytes(range(256)))
    (tmp_path / ".env").write_text("MODE=fast\n")
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "experiment.yaml").write_text("experiment: x\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    return tmp_path


def test_the_patch_makes_of_the_commit_what_was_there(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "code.py").write_text("x = 2\n")
    (folder / "raw.bin").write_bytes(bytes(reversed(range(256))))
    (folder / "exp" / "experiment.yaml").unlink()
    (folder / "new.py").write_text("y = 3\n")
    found = repository(folder / "exp")
    assert found is not None
    assert found.facts["dirty"] is True
    assert found.facts["untracked"] == ["new.py"]
    assert found.facts["patch_complete"] is True
    copy = tmp_path_factory.mktemp("copy")
    git(copy, "clone", "-q", str(folder), "there")
    (copy / "patch").write_bytes(found.patch)
    git(copy / "there", "apply", str(copy / "patch"))
    assert (copy / "there" / "code.py").read_text() == "x = 2\n"
    assert (copy / "there" / "raw.bin").read_bytes() == (folder / "raw.bin").read_bytes()
    assert not (copy / "there" / "exp" / "experiment.yaml").exists()


def test_files_and_values_that_are_secret_are_not_in_the_patch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
    (folder / ".env").write_text("MODE=xyzzyplugh\n")
    (folder / "code.py").write_text("x = 'hunter2hunter2'\n")
    found = repository(folder)
    assert found is not None
    assert b"code.py" in found.patch
    assert b"hunter2" not in found.patch
    assert b"xyzzy" not in found.patch
    assert found.facts["patch_complete"] is False


def test_a_long_patch_is_cut_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_module, "MOST", 100)
    (folder / "code.py").write_text("".join(f"x{number} = 1\n" for number in range(100)))
    found = repository(folder)
    assert found is not None
    assert len(found.patch) == 100
    assert found.facts["patch_bytes"] > 100
    assert found.facts["patch_complete"] is False


def test_clean_and_absent_repositories(folder: Path) -> None:
    assert git_state(folder / "exp") == {"commit": git_state(folder)["commit"], "dirty": False}  # type: ignore[index]
    assert root_of(folder / "exp") == folder
    shutil.rmtree(folder / ".git")
    assert repository(folder) is None
