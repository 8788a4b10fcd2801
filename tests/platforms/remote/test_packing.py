"""Archives of what hosts need: whole, the same each time, runnable without the controller's folders."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from estran.errors import PlatformError, RequestError
from estran.platforms.remote import packing
from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.environment import Supplies, interpreter
from estran.platforms.remote.packing import Kind, estran_itself, experiment, locked, packages


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "estran"


def run(code: str, *folders: Path) -> str:
    """What Python says that sees nothing but these folders and its own library."""
    start = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]!r}\n"
    return subprocess.run([sys.executable, "-I", "-S", "-c", start + code], check=True, capture_output=True, text=True).stdout


def unpacked(archive: packing.Archive, folder: Path) -> Path:
    with tarfile.open(archive.path) as packed:
        packed.extractall(folder / archive.folder, filter="data")
    return folder / archive.folder


def test_packages_run_elsewhere_and_compile_nothing(tmp_path: Path) -> None:
    archive = packages(Kind.own(), {name: version for name, version in locked().items() if name in ("msgspec", "annotated-types")})
    folder = unpacked(archive, tmp_path)
    said = run("import msgspec, annotated_types as v; print(msgspec.json.encode([1]), v.__file__)", folder)
    assert said.startswith("b'[1]'")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")}
    assert before
    for path in folder.rglob("*.py"):
        path.touch()  # code that compares no times stays good
    run("import annotated_types", folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")} == before


def test_the_lock_has_what_estran_needs_and_not_what_only_the_controller_does() -> None:
    lock = locked()
    assert {"numpy", "eclipse-zenoh", "pydantic", "annotated-types", "numba", "llvmlite", "scikit-learn", "scipy"} <= set(lock)
    assert not {"duckdb", "pytest", "asyncssh"} & set(lock)
    with pytest.raises(RequestError, match="'no-such-package' is not installed here"):
        locked(["no-such-package"])


def test_estran_is_packed_with_its_entry_points_and_the_same_each_time(tmp_path: Path, cache: Path) -> None:
    first = estran_itself()
    stamp = first.path.stat().st_mtime_ns
    assert estran_itself() == first
    assert first.path.stat().st_mtime_ns == stamp
    folder = unpacked(first, tmp_path)
    code = (
        "from importlib.metadata import entry_points as e\nimport estran\nprint(len(e(group='estran.components')), estran.__file__)"
    )
    count, file = run(code, folder).split()
    assert int(count) >= 10
    assert file.startswith(str(folder))


def test_an_experiment_is_packed_without_runs_and_hidden_files(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("experiment.yaml", "parts.py", "data/rows.csv", "runs/x/run.json", ".git/config", ".env", "__pycache__/parts.pyc"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(name)
    with tarfile.open(experiment(own).path) as packed:
        assert packed.getnames() == ["data/rows.csv", "experiment.yaml", "parts.py"]


def test_a_folder_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(RequestError, match="are copied to hosts at the most"):
        experiment(tmp_path)


MINOR = 12 if sys.version_info[1] != 12 else 11
OTHER = Kind((3, MINOR), "aarch64", (2, 36))


def test_packages_for_another_kind_of_host_are_downloaded() -> None:
    try:
        archive = packages(OTHER, {"msgspec": locked()["msgspec"]})
    except PlatformError as error:
        pytest.skip(f"no package index can be reached from here: {error}")
    with tarfile.open(archive.path) as packed:
        assert any("aarch64" in name and name.endswith(".so") for name in packed.getnames())


def test_packages_that_cannot_be_downloaded_are_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(PlatformError, match=f"no packages for Python 3.{MINOR} on aarch64: ERROR") as caught:
        packages(OTHER, {"msgspec": locked()["msgspec"]})
    assert "package index" in str(caught.value.remedy)


def test_the_newest_fitting_python_is_chosen_and_an_old_host_refused() -> None:
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    facts = {"executable": "/usr/bin/python3", "python": "3.9.2", "pythons": {"/a": f"{own}.0", "/b": "3.99.0"}}
    assert interpreter(facts, "h") == ("/a", f"{own}.0")
    with pytest.raises(PlatformError, match=r"h: its newest Python is 3.9.2, and components need 3.11"):
        interpreter({**facts, "pythons": {}}, "h")


async def test_a_host_gets_each_archive_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "locked", lambda extra=(): {"msgspec": locked()["msgspec"]})
    own = tmp_path / "own"
    own.mkdir()
    (own / "parts.py").write_text("x = 1")
    async with local_host("here", "test-packing") as host:
        supplies = Supplies(own)
        first = await supplies.provide(host)
        again = await asyncio.gather(*(supplies.provide(host) for _ in range(2)))
        assert (first.sent, [one.sent for one in again]) == (3, [0, 0])
        done = await host.run(
            [first.python, "-c", "import estran, msgspec; print(estran.__file__)"], env=first.variables(), cwd=first.experiment
        )
        assert done.stdout.decode().startswith(first.path[0])
        (own / "parts.py").write_text("x = 2")
        changed = await Supplies(own).provide(host)
        assert changed.sent == 1
        assert changed.experiment != first.experiment
