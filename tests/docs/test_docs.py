"""What the documentation shows is run, loaded or at least found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from estran.components.index import Components
from estran.runtime.component import Component, shape
from estran.spec import load
from tests.run.experiments import estran

ROOT = Path(__file__).parents[2]
TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = {
    "init",
    "examples",
    "learners",
    "check",
    "plan",
    "run",
    "study",
    "resume",
    "explain",
    "export",
    "optimize",
    "compare",
    "reproduce",
    "calibrate",
    "validate",
    "ls",
    "show",
    "logs",
    "report",
    "doctor",
    "clean",
    "e2clab",
    "schema",
    "testbeds",
    "watch",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


PYTHON = [(page, index, code) for page in PAGES for index, code in enumerate(blocks(page, "python"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "index", "code"), PYTHON, ids=[f"{page.stem}-{index}" for page, index, _ in PYTHON])
def test_python_blocks_run_and_their_components_have_sound_ports(page: Path, index: int, code: str) -> None:
    for library in re.findall(r"^\s*from (torch|sklearn|river)\b", code, flags=re.MULTILINE):
        pytest.importorskip(library, reason=f"the page uses {library}")
    names: dict[str, object] = {"__name__": f"docs_{page.stem.replace('-', '_')}_{index}"}
    module = type(sys)(str(names["__name__"]))
    sys.modules[module.__name__] = module
    exec(compile(code, str(page), "exec"), module.__dict__)  # our own pages
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Component) and value is not Component:
            shape(value)


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


def test_commands_in_the_pages_exist() -> None:
    for page in PAGES:
        for block in blocks(page, "sh"):
            for verb in re.findall(r"^estran ([a-z0-9-]+)", block, flags=re.MULTILINE):
                assert verb in VERBS, f"{page.name} shows `estran {verb}`"


def test_the_how_to_component_loads_and_checks_in_an_experiment(tmp_path: Path) -> None:
    code = blocks(ROOT / "docs" / "how-to" / "own-component.md", "python")[0]
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
    for line in blocks(ROOT / "docs" / "tutorial.md", "text")[0].strip().splitlines():
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


GENERATE = "from estran.cli.main import app; print(app.generate_docs())"


def test_the_command_line_reference_is_what_the_command_line_says() -> None:
    """Regenerate it with ``python -c`` and the line above, into the page."""
    page = ROOT / "docs" / "reference" / "command-line.md"
    made = subprocess.run([sys.executable, "-c", GENERATE], capture_output=True, text=True, timeout=30, check=True)
    assert page.read_text(encoding="utf-8") == made.stdout
