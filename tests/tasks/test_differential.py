"""The same tasks by Estran and by the real ansible-playbook on this machine: the same results and the same files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from estran.platforms.remote.bootstrap import local_host
from estran.spec.document import read_ansible
from estran.tasks.runner import TaskRunner
from estran.tasks.task import each_task, read_tasks

HERE = Path(__file__).parent
CASES = sorted(path.stem for path in (HERE / "cases").glob("*.yml"))
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = [
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-core is not installed beside this Python: pip install '.[test]'"),
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root"),
]

VOLATILE = {
    "exception", "start", "end", "delta", "stop", "invocation", "ansible_job_id", "results_file", "src", "diff", "backup_file",
    "deprecations", "warnings", "inode", "atime", "mtime", "ctime", "failed_when_suppressed_exception", "version", "elapsed",
    "attempts", "frame", "extract_results",
}  # fmt: skip
"""What differs from run to run, or is Ansible's account of itself."""
WORDED = re.compile(
    r"^(Task failed: |.*Could not find or access|.*undefined|.*Timed out|Unsupported parameters|The checksum for|"
    r".*must resolve to a 'list')",
    re.DOTALL,
)
"""Failures that both tell, each in its own words."""


def prepare(folder: Path) -> None:
    """Put what the tasks use beside them."""
    shutil.copytree(HERE / "assets", folder)
    (folder / "files" / "big.bin").write_bytes(bytes(range(256)) * 4000)
    with tarfile.open(folder / "files" / "archive.tar", "w") as archive:
        archive.add(HERE / "assets" / "vars" / "more.yml", "inside/more.yml")


def variables(folder: Path) -> dict[str, Any]:
    return {"work": str(folder), "number": 5}


def registered(tasks: list[Any]) -> list[str]:
    document = json.dumps(tasks)
    return list(dict.fromkeys(re.findall(r'"register": "(\w+)"', document)))


@pytest.fixture(scope="module")
def by_ansible(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[dict[str, Any], Path]]:
    """Run all cases in one ansible-playbook; return what it registered, and where its files are."""
    top = tmp_path_factory.mktemp("ansible")
    plays = []
    for case in CASES:
        prepare(top / case)
        tasks = read_ansible((HERE / "cases" / f"{case}.yml").read_text(), case).data
        names = ", ".join(f"'{name}': {name} | default(none)" for name in registered(tasks))
        dump = {"copy": {"content": "{{ {" + names + "} | to_json }}", "dest": str(top / f"{case}.json")}}
        play = {"hosts": "a", "gather_facts": False, "vars": variables(top / case), "tasks": [*tasks, dump]}
        (top / case / "play.yml").write_text(json.dumps([play]))
        plays.append(str(top / case / "play.yml"))
    (top / "hosts").write_text(f"a ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    environment = os.environ | {"ANSIBLE_PIPELINING": "1", "ANSIBLE_LOCALHOST_WARNING": "0", "HOME": str(Path.home())}
    argv = [str(PLAYBOOK), "-i", str(top / "hosts"), *plays]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=Path.home())
    assert done.returncode == 0, done.stdout[-2500:] + done.stderr[-1500:]
    return {case: (json.loads((top / f"{case}.json").read_text()), top / case) for case in CASES}


async def by_estran(case: str, folder: Path) -> dict[str, Any]:
    """Run a case; return what it registered."""
    document = read_ansible((HERE / "cases" / f"{case}.yml").read_text(), str(folder / "play.yml"))
    async with (
        local_host("a", f"test-{case}") as host,
        TaskRunner({"a": host}, variables={"a": variables(folder)}, folders=[folder]) as runner,
    ):
        report = await runner.run(document.data, document.marks)
        assert report.ok, report.failed
        return {name: report.variables["a"].get(name) for name in registered(document.data)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
async def test_same_results_and_files(case: str, tmp_path: Path, by_ansible: Mapping[str, tuple[dict[str, Any], Path]]) -> None:
    theirs, their_folder = by_ansible[case]
    folder = tmp_path / case
    prepare(folder)
    ours = json.loads(json.dumps(await by_estran(case, folder), default=str))
    differing = list(differences(plain(theirs, their_folder), plain(ours, folder), ""))
    assert not differing, "\n".join(differing)
    assert tree(folder) == tree(their_folder)


def plain(value: Any, folder: Path) -> Any:
    """Without volatile parts, and with the folder named alike."""
    if isinstance(value, dict):
        return {key.replace(str(folder), "WORK"): plain(part, folder) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [plain(part, folder) for part in value]
    return value.replace(str(folder), "WORK") if isinstance(value, str) else value


def differences(theirs: Any, ours: Any, path: str) -> Any:
    """Say where two results differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.get("failed") and ours.get("failed") and WORDED.match(str(theirs.get("msg"))):
            return  # that it failed is alike
        for key in theirs.keys() | ours.keys():
            yield from differences(theirs.get(key, "(missing)"), ours.get(key, "(missing)"), f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    elif theirs != ours or type(theirs) is not type(ours):
        yield f"{path}: ansible {theirs!r}, estran {ours!r}"


def tree(folder: Path) -> dict[str, Any]:
    """Names, modes and content of all files."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(r"\d+\.\d{4}-\d\d-\d\d@.*", "BACKUP", path.relative_to(folder).as_posix())
        name = name.replace(str(folder).lstrip("/"), "WORK")
        name = re.sub(r"^t\.\w+", "TEMPORARY", name)
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_dir():
            if not name.startswith("fetched/"):
                found[name] = oct(path.stat().st_mode)
        elif path.name != "play.yml":
            found[name] = (oct(path.stat().st_mode), hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def test_every_native_module_is_in_a_case() -> None:
    from estran.tasks.modules import NATIVE

    used = set()
    for case in CASES:
        document = read_ansible((HERE / "cases" / f"{case}.yml").read_text(), case)
        used |= {task.module for task in each_task(read_tasks(document.data, document.marks))}
    assert set(NATIVE) - used == {"synchronize", "wait_for_connection", "gather_facts"}  # these have tests of their own
