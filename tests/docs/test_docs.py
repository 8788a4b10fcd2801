"""What the documentation shows is run, loaded or at least found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from estran.components.index import Components
from estran.spec import load
from tests.docs.pages import PAGES, ROOT, written
from tests.run.experiments import estran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#]+)\)", index))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages <= linked, sorted(pages - linked)


def test_tests_that_the_page_on_security_names_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8"))
    assert named
    for file, name in named:
        assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8")), f"{file}::{name}"


def test_the_how_to_component_loads_and_checks_in_an_experiment(tmp_path: Path) -> None:
    code = written("docs/how-to/own-component.md", "python")
    (tmp_path / "brightness.py").write_text(code)
    text = (ROOT / "examples" / "visual-inspection" / "experiment.yaml").read_text()
    text = text.replace(
        "streams:\n",
        '  filter: {on: fog, component: "brightness:Brightness", with: {threshold: 0.4, pause: 1ms}}\n\nstreams:\n'
        "  - {from: camera.samples, to: filter.samples}\n",
    )
    text = text.replace(
        "  - {from: camera.samples, to: [detector.samples, trainer.samples]",
        "  - {from: filter.bright, to: [detector.samples, trainer.samples]",
    )
    (tmp_path / "experiment.yaml").write_text(text)
    experiment = load(tmp_path / "experiment.yaml", components=Components(tmp_path))
    assert experiment.services["filter"].settings["pause"] == pytest.approx(0.001)


def test_the_tutorials_mistakes_give_the_messages_that_it_shows(tmp_path: Path) -> None:
    estran("init", "my-study", cwd=tmp_path)
    file = tmp_path / "my-study" / "experiment.yaml"
    text = file.read_text()
    file.write_text(text.replace("delay: 5ms", "delay: fast").replace("    on: cloud\n", "    on: clowd\n"))
    shown = estran("check", "my-study", cwd=tmp_path).stderr
    page = (ROOT / "docs" / "tutorial.md").read_text()
    for line in written("docs/tutorial.md", "text").strip().splitlines():
        message = re.sub(r"^\S+:\d+:\d+: ", "", line.strip())
        assert message in shown, f"{message!r} is not in\n{shown}"
    assert "estran check my-study" in page


def test_the_package_has_no_syntax_of_a_newer_python() -> None:
    """The oldest Python that is promised parses every file."""
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--target-version", "py311", "--select", "E9,F63,F7,F82", "src"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
