"""Every block of every page is run, loaded or compared, or says in front of it why it is not."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from estran.components.index import Components
from estran.learning import registry
from estran.platforms.files import platform_of
from estran.runtime.component import Component, shape
from estran.spec import load
from tests.docs.fragments import completed, read, write
from tests.docs.pages import EVERY, ROOT, RUN, Block, blocks, written
from tests.docs.shell import Shell, commands, estran, understood

SHOWN = {"text", "json", "sql", "console"}
"""What is compared with what comes out, each page by a test of its own: see ``COMPARED``."""
COMPARED = {
    "docs/explanation/simulation.md": "test_what_simulation_says",
    "docs/how-to/migrate-from-e2clab.md": "test_mistakes_in_a_scenario",
    "docs/reference/command-line.md": "test_generated_pages_are_what_the_code_says, in test_generated.py",
    "docs/reference/responses.md": "test_a_response_in_json",
    "docs/tutorial.md": "test_the_tutorials_mistakes…, in test_docs.py; test_the_tutorials_question_about_messages",
}
SHORT = "{warmup: 0.2s, duration: 1s}"
DONE = re.compile(r"(runs|studies)/visual-inspection/(\d{8}-\d{6}-[0-9a-f]{4})")


STUDIED = next(block for block in RUN if block.page == "docs/how-to/ci.md" and block.text.startswith("estran study"))
"""A study that other pages look at."""


def of(language: str) -> list[Block]:
    return [block for block in RUN if block.language == language]


@pytest.mark.parametrize("block", EVERY, ids=str)
def test_every_block_is_done_or_says_why_not(block: Block) -> None:
    assert block.language in {"sh", "python", "yaml", "toml"} | SHOWN, f"{block}: what is {block.language!r}?"
    if block.why_not is None:
        assert block.language not in SHOWN or block.page in COMPARED, f"{block} is compared with nothing"
    for test in re.findall(r"tests/[\w/.]+", block.why_not or ""):
        assert (ROOT / test.rstrip(".")).exists(), f"{block} leaves it to {test}"


@pytest.mark.parametrize("block", [block for block in EVERY if block.language == "sh"], ids=str)
def test_the_command_line_understands_every_command(block: Block) -> None:
    for command in commands(block.text):
        if command.startswith("estran "):
            understood(command)


def short(text: str) -> str:
    """An experiment that takes next to no time: a second is measured, if the components are of the ready ones."""
    return re.sub(r"^measure: .*$", f"measure: {SHORT}", text, flags=re.MULTILINE)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no line of a message be broken."""
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, a run of it and a study."""
    folder = tmp_path_factory.mktemp("made")
    text = short((ROOT / "examples" / "visual-inspection" / "experiment.yaml").read_text(encoding="utf-8"))
    (folder / "visual-inspection").mkdir()
    text = re.sub(r"placement: \[.*\n.*\n", "placement: [fog, edge]\n", text.replace('"${publish_every}"', "0.5s")).partition(
        "claims:"
    )[0]
    text += "claims: [loss <= 1%, latency_p50(placement=edge) < latency_p50(placement=fog)]\n"
    (folder / "visual-inspection" / "experiment.yaml").write_text(text)
    (folder / "experiments").mkdir()
    shutil.copytree(folder / "visual-inspection", folder / "experiments" / "inspection")
    shell = Shell(folder)
    shell.does("estran run visual-inspection --on simulate")
    for command in commands(STUDIED.text):
        if command.startswith("estran") or shutil.which("jq"):
            shell.does(command)
    return folder


def desk(made: Path, folder: Path, page: Path) -> Path:
    """A folder with what the page takes for granted, under the names that it uses."""
    if page.name == "tutorial.md":
        return folder  # it begins from nothing
    shutil.copytree(made, folder, dirs_exist_ok=True)
    (folder / "studies" / "tiny").mkdir()
    name_newest(folder, page)
    whole = next((block.text for block in blocks(page) if block.language == "yaml" and block.text.startswith("experiment:")), None)
    (folder / "experiment.yaml").write_text(short(whole) if whole else (made / "visual-inspection" / "experiment.yaml").read_text())
    if page.name == "study.md":
        for file in (folder / "visual-inspection" / "experiment.yaml", folder / "experiment.yaml"):
            text = file.read_text().replace("delay: 5ms", 'delay: "${delay}"')
            file.write_text(text.replace("factors:\n", "factors:\n  delay: [10ms, 80ms]\n"))
    if "--to experiment.yaml" in page.read_text(encoding="utf-8"):
        (folder / "experiment.yaml").unlink()
    (folder / "FILE").symlink_to("experiment.yaml")
    scenario(folder / "scenario", mistakes=False)
    (folder / "artifacts").mkdir()
    return folder


def name_newest(folder: Path, page: Path) -> None:
    """Give the newest run and study all the names that the page has for them."""
    names = [(kind, f"{kind}/visual-inspection/{name}") for kind, name in DONE.findall(page.read_text(encoding="utf-8"))]
    for kind, name in (*names, ("studies", "STUDY"), ("studies", "studies/tiny/A"), ("studies", "studies/tiny/B")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(newest(folder / kind))


def newest(folder: Path) -> Path:
    return sorted(path for path in folder.glob("visual-inspection/*") if not path.is_symlink())[-1]


@pytest.mark.timeout(400)  # it is many commands
@pytest.mark.parametrize("page", sorted({block.page for block in of("sh")}))
def test_commands_do_what_the_page_says(page: str, made: Path, tmp_path: Path) -> None:
    if "jq " in (ROOT / page).read_text(encoding="utf-8") and not shutil.which("jq"):
        pytest.skip("jq is not there")
    shell = Shell(desk(made, tmp_path, ROOT / page))
    for block in of("sh"):
        if block.page == page and block != STUDIED:
            for command in commands(block.text):
                shell.does(command)
                if (tmp_path / "STUDY").is_symlink():
                    name_newest(tmp_path, ROOT / page)
                if command.startswith("estran init my-study"):
                    file = tmp_path / "my-study" / "experiment.yaml"
                    text = short(file.read_text()).partition("claims:")[0]
                    file.write_text(text.replace("[fog, edge, cloud]", "[fog, edge]").replace(", 10s]", "]"))


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_runs_and_its_components_have_sound_ports(block: Block, made: Path, tmp_path: Path) -> None:
    for library in re.findall(r"^\s*from (torch|sklearn|river)\b", block.text, flags=re.MULTILINE):
        pytest.importorskip(library, reason=f"the page uses {library}")
    before = [one.text for one in blocks(ROOT / block.page) if one in RUN and one.language == "python" and one.line < block.line]
    module = type(sys)(f"docs_{Path(block.page).stem.replace('-', '_')}_{block.line}")
    sys.modules[module.__name__] = module
    folder = desk(made, tmp_path, ROOT / block.page) if "open_study" in "".join((*before, block.text)) else tmp_path
    text = "\n".join((*before, block.text)) if "study." in block.text else block.text
    with contextlib.chdir(folder):
        exec(compile(text, str(block), "exec"), module.__dict__)  # our own pages
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Component) and value is not Component:
            shape(value)


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_loads(block: Block, tmp_path: Path) -> None:
    for source in ("docs/how-to/own-component.md", "docs/how-to/own-simulator.md"):
        name = "brightness" if "component" in source else "pendulum"
        (tmp_path / f"{name}.py").write_text(written(source, "python"), encoding="utf-8")
    if '"nets:Net"' in block.text:
        pytest.importorskip("torch", reason="the page uses torch")
        (tmp_path / "nets.py").write_text(written("docs/how-to/own-learner.md", "python", 1), encoding="utf-8")
    if block.text.startswith(("platform:", "behind:")):
        for name in ("lab.yaml", "cluster.yaml"):
            (tmp_path / name).write_text(written(f"docs/how-to/{'ssh' if name == 'lab.yaml' else 'slurm'}.md", "yaml"))
        (tmp_path / "CHI-TACC-openrc.sh").touch(mode=0o600)
        (tmp_path / "sensor.elf").touch()
        first = "" if block.text.startswith("platform:") else written(block.page, "yaml")
        (tmp_path / "platform.yaml").write_text(first + block.text)
        platform_of(tmp_path / "platform.yaml")
    elif re.search(r"^learner:", block.text, flags=re.MULTILINE):
        (tmp_path / "own.py").write_text(written("docs/how-to/own-learner.md", "python", 2), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patched:
            patched.syspath_prepend(tmp_path)
            for choice in re.split(r"^(?=learner:)", block.text, flags=re.MULTILINE)[1:]:
                registry.check(read(choice)["learner"])
    else:
        whole = block.text.startswith("experiment:")
        (tmp_path / "heat").touch(mode=0o755)
        if whole:
            (tmp_path / "experiment.yaml").write_text(block.text, encoding="utf-8")
        file = tmp_path / "experiment.yaml" if whole else write(completed(block), tmp_path)
        assert load(file, components=Components(tmp_path)).services


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_entry_points_are_of_groups_that_estran_reads(block: Block) -> None:
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    read_ones = {
        found
        for file in (ROOT / "src").rglob("*.py")
        for found in re.findall(r'^\w*GROUP\b.* = "(estran\.\w+)"', file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert groups.keys() <= read_ones


def alike(shown: str, told: str) -> bool:
    """Whether what a page shows is among what was told, whatever the figures and however much space there is."""

    def form(text: str) -> str:
        return " ".join(re.sub(r"-?\d+(\.\d+)?", "0", text).split())

    return all(form(line) in form(told) for line in shown.strip().splitlines())


CAMERA = """
import time
from dataclasses import dataclass

from estran.runtime.component import Component
from estran.runtime.ports import Output


class Camera(Component):
    pictures: Output[bytes]
    async def run(self):
        time.sleep(1)
"""
ESCAPING = """
experiment: escaping
layers: {edge: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: edge, component: "my_camera:Camera"}
  store: {on: edge, component: sink}
streams: [{from: camera.pictures, to: store.messages}]
"""
OVERLOADED = """
experiment: overloaded
layers: {cloud: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: cloud, component: source, with: {rate: 200/s}}
  server: {on: cloud, component: sink, costs: {take: {each: 20ms}}}
streams: [{from: camera.samples, to: server.messages}]
measure: {warmup: 1s, duration: 4s}
"""


def test_what_simulation_says(tmp_path: Path, made: Path) -> None:
    trace, escaped, unstable = (written("docs/explanation/simulation.md", "text", index) for index in range(3))
    folder = tmp_path / "made"
    shutil.copytree(made, folder)
    assert estran(["run", "visual-inspection", "--on", "simulate", "--trace"], folder).status == 0
    assert alike(trace, (newest(folder / "runs") / "trace.txt").read_text())
    (tmp_path / "my_camera.py").write_text(CAMERA)
    for name, text, shown, status in (("escaping", ESCAPING, escaped, 1), ("overloaded", OVERLOADED, unstable, 0)):
        (tmp_path / f"{name}.yaml").write_text(text)
        told = estran(["run", f"{name}.yaml", "--on", "simulate"], tmp_path)
        assert told.status == status, told.err
        assert alike(shown, re.sub("[│╭╰─╮╯]", "", (told.out + told.err).replace(f"{tmp_path}/", ""))), told.out


def test_the_first_steps_are_those_of_the_tutorial() -> None:
    steps = [
        command for block in blocks(ROOT / "docs" / "tutorial.md") if block.language == "sh" for command in commands(block.text)
    ]
    for command in commands(written("README.md", "sh", 1)):
        assert command in steps or command == "estran run my-study --on simulate"


def test_a_response_in_json(made: Path) -> None:
    shown = json.loads(written("docs/reference/responses.md", "json"))
    measured = json.loads((newest(made / "runs") / "responses.json").read_text())
    for name, response in shown.items():
        assert response.keys() == measured[name].keys()
        assert response["unit"] == measured[name]["unit"]
        assert alike(response["note"], measured[name]["note"])


def test_the_tutorials_question_about_messages(made: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with contextlib.chdir(newest(made / "runs")):
        rows = duckdb.sql(written("docs/tutorial.md", "sql")).fetchall()
    assert {receiver.partition("-")[0] for receiver, _ in rows} == {"detector", "trainer"}


SCENARIO = {
    "layers_services.yaml": "environment:\n  job_name: market\nlayers:\n- name: edge\n  services: [{name: Client, quantity: 1}]\n"
    "- {name: cloud, services: [{name: Server, quantty: 2}]}\n",
    "network.yaml": "networks: [{src: clowd, dst: edge, delay: 10ms}]\n",
    "workflow.yaml": "- hosts: edge.*\n  launch:\n  - shell: sleep 1\n- hosts: cloud.*\n  luanch:\n  - shell: sleep 1\n",
}


def scenario(folder: Path, *, mistakes: bool) -> None:
    folder.mkdir()
    for name, text in SCENARIO.items():
        for wrong, right in {} if mistakes else {"quantty": "quantity", "clowd": "cloud", "luanch": "launch"}.items():
            text = text.replace(wrong, right)
        (folder / name).write_text(text)


def test_mistakes_in_a_scenario(tmp_path: Path) -> None:
    scenario(tmp_path / "market", mistakes=True)
    told = estran(["e2clab", "check", "market"], tmp_path)
    assert told.status == 2
    assert alike(written("docs/how-to/migrate-from-e2clab.md", "text"), told.err), told.err


def test_the_workflow_of_ci_has_commands_that_the_command_line_understands() -> None:
    workflow = read(written("docs/how-to/ci.md", "yaml"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    asked = [step for step in steps if step.startswith("estran ")]
    for command in asked:
        understood(command)
    assert {command.split()[1] for command in asked} == {"check", "run", "reproduce"}
