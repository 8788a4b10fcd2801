"""The generated pages of the reference are up to date, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import ROOT


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()


@pytest.mark.parametrize("page", generate.GENERATED)
def test_generated_pages_are_what_the_code_says(page: str) -> None:
    committed = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert generate.text_of(page) == committed, "make them anew: make reference"


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the site needs the extra docs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    loads = re.compile(r'<(?:(?:script|img|iframe|source)\b[^>]*\ssrc|link\b[^>]*\shref)="(?:https?:)?//')
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not loads.search(text), page
        assert "](" not in re.sub(r"<(pre|code|script)\b.*?</\1>", "", text, flags=re.DOTALL), page
