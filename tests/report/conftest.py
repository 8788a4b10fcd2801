"""Synthetic run folders, each written once a session, and a browser."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .synthetic import Scene, fail, hostile, write_run

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder of each kind; tests do not change them."""
    root = tmp_path_factory.mktemp("runs")
    done = write_run(root / "done")
    return {
        "done": done,
        "failed": fail(shutil.copytree(done, root / "failed")),
        "hostile": hostile(shutil.copytree(done, root / "hostile")),
        "untaught": write_run(root / "untaught", Scene(predictor=False)),
        "hundred": write_run(root / "hundred", Scene(cameras=98, rate=5)),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium with a fresh profile."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with tempfile.TemporaryDirectory() as home, playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, env={"HOME": home})
        yield started
        started.close()
