"""What is built has everything: the wheel, in an environment where nothing else of Estran is; and the source archive."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the list of files comes from git")
OPTIONAL = {"enoslib", "mlflow", "parsl", "ray", "torch"}
"""Packages that no module may fail for but those that need them, which nothing imports unless it is asked for."""
IMPORT_ALL = f"""
import importlib, pkgutil, sys
import estran
assert estran.__file__.startswith(sys.prefix), estran.__file__
failed = []
for module in pkgutil.walk_packages(estran.__path__, "estran."):
    if module.name.endswith("__main__") or ".examples." in module.name:
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {OPTIONAL!r}:
            failed.append(f"{{module.name}}: {{error}}")
print("\\n".join(failed))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("built")
    made = said([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], ROOT)
    assert len(list(folder.iterdir())) == 2, made
    return folder


@pytest.fixture(scope="module")
def environment(built: Path) -> Path:
    """A virtual environment with the wheel, which finds what that needs where the tests have it: no index is asked."""
    folder = built.parent / "environment"
    said([sys.executable, "-m", "venv", "--without-pip", str(folder)], ROOT)
    (wheel,) = built.glob("*.whl")
    said([sys.executable, "-m", "pip", "--python", str(folder), "install", "-q", "--no-deps", "--no-index", str(wheel)], ROOT)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def said(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(*folders: str) -> set[str]:
    return set(said(["git", "ls-files", *folders], ROOT).split())


def test_the_wheel_has_every_file_of_the_package_and_the_examples(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        assert max(info.file_size for info in packed.infolist()) < 4e6
    wanted = {name.removeprefix("src/") for name in tracked("src")} | {f"estran/{name}" for name in tracked("examples")}
    assert wanted <= names, sorted(wanted - names)
    assert {
        name for name in names - wanted if not (ROOT / "src" / name).exists() and not name.startswith("estran/examples/")
    } == set()


def test_the_source_archive_has_all_that_its_tests_and_pages_need(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    wanted = tracked(
        "src", "examples", "docs", "tests", "benchmarks", ".ci", "Makefile", "README.md", "CHANGELOG.md", "pyproject.toml"
    )
    assert wanted <= names, sorted(wanted - names)


def test_every_module_of_the_wheel_is_imported(environment: Path) -> None:
    assert said([str(environment / "bin" / "python"), "-c", IMPORT_ALL], environment) == "\n"


def test_the_wheel_makes_an_experiment_and_runs_it(environment: Path) -> None:
    program = str(environment / "bin" / "estran")
    assert "visual-inspection" in said([program, "examples"], environment)
    said([program, "init", "mine"], environment)
    options = ("--on", "simulate", "--set", "measure.duration=2s", "--json")
    made = json.loads(said([program, "run", "mine", *options], environment))
    assert made["status"] == "done"
    assert (environment / made["folder"] / "report.html").stat().st_size > 100_000
