"""What plug-ins of services may do, and what they are told where they may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estran.e2clab.directory import Directory
from estran.e2clab.plugins import deploy, find_plugins
from estran.errors import EstranError
from estran.spec.e2clab import Scenario
from tests.spec.e2clab.scenarios import SECOND, read, write

HEAD = "from e2clab.services import Service\nclass Worker(Service):\n    def deploy(self):\n        "


async def deployed(folder: Path, code: str) -> tuple[Scenario, Directory]:
    """Register the services of a scenario whose worker has a plug-in that does no task."""
    write(folder / "scenario", SECOND)
    (folder / "services").mkdir()
    (folder / "services" / "Worker.py").write_text(code)
    scenario = read(folder / "scenario", SECOND)
    plugins = find_plugins(scenario, folder)
    assert list(plugins) == ["Worker"]
    return scenario, await deploy(scenario, plugins, {}, lambda host: f"address-of-{host}", lambda result: None)


async def test_parts_are_registered_and_selected_by_their_names(tmp_path: Path) -> None:
    code = HEAD + (
        "self.roles.update({'head': [self.hosts[0]]})\n"
        "        told = [{'batch': self.env['batch']}]\n"
        "        self.register_service(_roles=self.roles['head'], service_port=80, sub_service='Head', extra=told)\n"
        "        return self.register_service(hosts=self.hosts[1:], sub_service='tail')\n"
    )
    _, directory = await deployed(tmp_path, code)
    assert list(directory.entries) == [
        "cloud.coordinator.1.1", "edge.worker.1.head.1", "edge.worker.1.tail.1", "edge.worker.1.tail.2",
    ]  # fmt: skip
    head = directory.select("edge.worker.1.head")[0]
    assert (head.host, head.own["url"], head.own["batch"]) == ("edge-0", "address-of-edge-0:80", 32)
    assert [entry.host for entry in directory.select("edge:!*.head.*")] == ["edge-1", "edge-2"]
    assert len(directory.select("edge.worker")) == 3


async def test_one_host_in_two_roles_is_selected_once(tmp_path: Path) -> None:
    code = HEAD + "self.register_service(sub_service='a')\n        self.register_service(sub_service='b')\n"
    _, directory = await deployed(tmp_path, code)
    assert len(directory.entries) == 7
    assert [entry.key for entry in directory.select("edge")] == [f"edge.worker.1.a.{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (HEAD + "pass\n", "the plug-in of Worker has registered nothing"),
        (HEAD + "self.deploy_docker()\n", "deploy_docker is not offered to plug-ins"),
        (HEAD + "import enoslib\n        enoslib.Netem()\n", "enoslib.Netem is not offered to plug-ins"),
        (HEAD + "1 / 0\n", "Worker.py:4: ZeroDivisionError: division by zero"),
        ("class Worker: pass\n", "has no class Worker that derives from Service"),
        ("def (:\n", "Worker.py:1: is no Python"),
        ("import nowhere_at_all\n", "Worker.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (
            HEAD + "import enoslib\n        enoslib.run('ls', roles=self.roles, pattern_hosts='nobody')\n",
            "'nobody' finds no machine",
        ),
    ],
)
async def test_what_a_plug_in_may_not_do(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(EstranError) as raised:
        await deployed(tmp_path, code)
    assert message in str(raised.value)
    with pytest.raises(ModuleNotFoundError):
        __import__("e2clab.services")


async def test_tasks_go_to_the_hosts_that_are_meant_with_the_line_that_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, list[str], Any]] = []

    async def done(path: Path, tasks: Any, hosts: Any, variables: Any, on_result: Callable[..., None]) -> list[Any]:
        asked.append((tasks, list(hosts), dict(variables)))
        return []

    monkeypatch.setattr("estran.e2clab.plugins._done", done)
    code = HEAD + (
        "import enoslib as en\n"
        "        with en.actions(pattern_hosts='all[1:]', roles=self.roles, extra_vars={'x': 1}) as a:\n"
        "            a.apt(name='git', state='present', task_name='git', when='x == 1')\n"
        "            a.shell('serve', background=True)\n"
        "        self.register_service()\n"
    )
    write(tmp_path / "scenario", SECOND)
    (tmp_path / "Worker.py").write_text(code)
    scenario = read(tmp_path / "scenario", SECOND)
    hosts: Any = dict.fromkeys(["edge-0", "edge-1", "edge-2"])
    await deploy(scenario, {"Worker": tmp_path / "Worker.py"}, hosts, str, lambda result: None)
    tasks = [
        (6, {"name": "git", "apt": {"name": "git", "state": "present"}, "when": "x == 1"}),
        (7, {"shell": "serve", "async": 3600, "poll": 0}),
    ]
    assert asked == [(tasks, ["edge-1", "edge-2"], {"x": 1})]
