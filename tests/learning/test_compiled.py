"""Machine code on disk: found again, never stale, and done without where there is no place for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import estran
from estran.learning import compiled

OUTER = """
from estran.learning.compiled import compiled
from estran.learning.inner_kernel import tripled

def _outer(x):
    return tripled(x) + 1

outer = compiled(_outer)
"""
INNER = """
from estran.learning.compiled import compiled
from estran.learning.numbers import (
    FACTOR,
)

def _tripled(x):
    return FACTOR * x

tripled = compiled(_tripled, inlined=True)
"""
RUN = """
from estran.learning.outer_kernel import outer
print(outer(2), sum(outer.stats.cache_hits.values()), outer.stats.cache_path)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of ours with two kernels more, one in the other, and a constant."""
    home = tmp_path / "estran"
    shutil.copytree(Path(estran.__file__).parent, home, ignore=shutil.ignore_patterns("__pycache__", "platforms", "report"))
    for name, text in (("outer_kernel", OUTER), ("inner_kernel", INNER), ("numbers", "FACTOR = 3\n")):
        (home / "learning" / f"{name}.py").write_text(text, encoding="utf-8")
    return home


def run(package: Path, **env: str) -> tuple[list[str], str]:
    kept = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    kept |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True, env=kept)
    return done.stdout.split(), done.stderr


def test_machine_code_is_found_again_until_something_that_it_is_made_of_changes(package: Path, tmp_path: Path) -> None:
    place = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    learning = package / "learning"
    assert run(package, **place)[0][:2] == ["7", "0"]
    assert run(package, **place)[0][:2] == ["7", "1"]
    # What it does not import, or a new date only, is nothing to it.
    (learning / "mlp.py").write_text("", encoding="utf-8")
    os.utime(learning / "numbers.py", (1, 1))
    assert run(package, **place)[0][:2] == ["7", "1"]
    # A constant of an inner function, two files away: numba alone would go on answering 7.
    (learning / "numbers.py").write_text("FACTOR = 4\n", encoding="utf-8")
    assert run(package, **place)[0][:2] == ["9", "0"]


def test_it_works_where_no_machine_code_can_be_kept(package: Path) -> None:
    # A file where the cache folder should be keeps even root out.
    (package / "learning" / "__pycache__").touch()
    answer, said = run(package, HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere")
    assert answer == ["7", "0", "None"]
    assert "set NUMBA_CACHE_DIR to a writable folder" in said


def test_a_numba_that_keeps_machine_code_otherwise_is_not_trusted_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def double(x: int) -> int:
        return 2 * x

    monkeypatch.setattr(
        numba.core.caching.IndexDataCacheFile, "__init__", lambda self, cache_path, filename_base, source_stamp: None
    )
    with pytest.warns(RuntimeWarning, match="stamps its cache otherwise; it is compiled anew"):
        kernel = compiled.compiled(double)
    assert kernel(4) == 8
    assert kernel.stats.cache_path is None  # type: ignore[attr-defined]  # numba's


def test_a_digest_is_of_all_that_is_imported_at_the_top() -> None:
    home = Path(compiled.__file__).parent
    reached, waiting = set(), [home / "linear" / "kernel.py"]
    while waiting:
        fresh = {*compiled._imported(waiting.pop())} - reached
        reached |= fresh
        waiting += fresh
    assert {home / "compiled.py", home / "linear" / "plan.py", home / "linear" / "vectors.py"} <= reached
    assert home / "registry.py" not in reached
