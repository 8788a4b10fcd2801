"""Scenarios run on emulated hosts: what tasks did, what is recorded, and that a failure is one, whatever fails."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from estran.e2clab.session import ask
from estran.errors import EstranError, RequestError
from estran.observe.provenance import read
from tests.run.experiments import estran, start
from tests.spec.e2clab.scenarios import write

pytest.importorskip("jinja2", reason="tasks have templates: pip install 'estran[ansible]'")
pytestmark = pytest.mark.root

LAYERS = """
environment: {job_name: market, g5k: {cluster: gros}}
monitoring: {type: dstat}
layers:
- name: cloud
  services: [{name: Server, env: {greeting: welcome, api_key: tops3cret}}]
- name: edge
  services: [{name: Client, quantity: 2, repeat: 1}]
"""
NETWORK = "networks: [{src: cloud, dst: edge, delay: 10ms, rate: 50mbit, symmetric: true}]\n"
WORKFLOW = """
- hosts: cloud
  prepare:
  - copy: {src: "{{ working_dir }}/serve.py", dest: /root/serve.py, mode: 0750}
  launch:
  - name: serve
    shell: python3 /root/serve.py "{{ _self.greeting }} {{ env_whom | default('all') }}"
    async: 1000
    poll: 0
  - wait_for: {port: 8000, host: "{{ _self.__address__ }}"}
  finalize:
  - shell: kill $(cat /root/pid) && cat /root/visits
    register: visits
  - copy: {content: "{{ visits.stdout }}", dest: /root/result}
  - fetch: {src: /root/result, dest: "{{ working_dir }}/", flat: yes}
- hosts: edge.client.*
  depends_on:
  - {service_selector: cloud.server.*, grouping: round_robin, prefix: server}
  launch:
  - shell: python3 -c "import urllib.request as u; print(u.urlopen('http://{{ server.url }}/{{ _self._id }}').read().decode())"
  - debug: {msg: "{{ inventory_hostname }} of {{ groups.edge | length }}, repeat {{ current_repeat }}, {{ app_conf }}"}
"""
ENVIRONMENT = "first: {whom: Ann}\nsecond: {whom: Ben}\n"
PLUGIN = """
import enoslib as en
from e2clab.services import Service

class Server(Service):
    def deploy(self):
        with en.actions(pattern_hosts="all", roles=self.roles) as a:
            a.shell("echo ready > /opt/server", task_name="install")
        read = en.run_command("cat /opt/server", roles=self.roles)
        assert read[0].ok() and read[0].stdout == "ready"
        self.register_service(service_port=8000, extra=[{"greeting": self.env["greeting"]}])
"""
SERVE = """
import http.server, os, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("/root/visits", "a") as file:
            file.write(self.path + "\\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())

with open("/root/pid", "w") as file:
    file.write(str(os.getpid()))
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("", 8000), Handler).serve_forever()
"""


def scenario(folder: Path, **changed: str) -> Path:
    files = {"layers_services": LAYERS, "network": NETWORK, "workflow": WORKFLOW, "workflow_env": ENVIRONMENT} | changed
    write(folder / "market", {f"{name}.yaml": text for name, text in files.items()})
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts" / "serve.py").write_text(SERVE)
    return folder


def ran(folder: Path, *options: str) -> tuple[int, str, list[Path]]:
    done = estran("e2clab", "run", "market", "artifacts", *options, cwd=folder)
    return done.returncode, done.stdout + done.stderr, sorted((folder / "runs" / "market").glob("*"))


def results(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "tasks.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Path]]:
    """Two repeats, each of two configurations, with a plug-in."""
    folder = scenario(tmp_path_factory.mktemp("e2clab"))
    plugins = folder / "artifacts" / "services"
    plugins.mkdir()
    (plugins / "Server.py").write_text(PLUGIN)
    status, said, runs = ran(folder, "--app_conf", "first,second", "--repeat", "1", "--duration", "1")
    assert status == 0, said
    return said, runs


def test_every_host_did_its_tasks_and_was_told_of_the_others(twice: tuple[str, list[Path]]) -> None:
    _, runs = twice
    assert len(runs) == 2
    for number, run in enumerate(runs, 1):
        log = (run / "logs" / "edge-2.log").read_text()
        assert re.findall("welcome .*", log) == ["welcome Ann", "welcome Ben"]
        assert f"edge-2 of 4, repeat {number}, first" in log
        for configuration, visits in (("first", 1), ("second", 2)):
            got = (run / "output" / configuration / "result").read_text().split()
            assert sorted(got) == sorted(["/2_1_1", "/2_1_2", "/2_2_1", "/2_2_2"] * visits), "each run has new hosts"


def test_the_run_folder_tells_it_all(twice: tuple[str, list[Path]]) -> None:
    said, (run, _) = twice
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done"
    names = [phase["name"] for phase in record["phases"]]
    launched = ["launch first", "wait first", "finalize first", "launch second", "wait second", "finalize second"]
    assert names[3:11] == ["deploy", "prepare", *launched]
    assert record["configurations"] == ["first", "second"]
    assert (run / "scenario" / "workflow.yaml").read_text() == WORKFLOW
    assert 'api_key: "(hidden)"' in (run / "scenario" / "layers_services.yaml").read_text()
    assert not [path for path in run.rglob("*") if path.is_file() and b"tops3cret" in path.read_bytes()]
    hashes = json.loads((run / "manifest.json").read_text())["hashes"]
    assert any(path.endswith("artifacts/serve.py") for path in hashes)
    links = json.loads((run / "network.json").read_text())["links"]
    delay = next(link["measured"]["delay"] for link in links if link["source"] == "cloud-0")
    assert 0.009 < delay < 0.02, "50 ms asked and 0.07 ms given is what must never happen"
    done = results(run)
    assert {one["status"] for one in done} <= {"ok", "changed"}
    assert {one["stage"] for one in done} == {"deploy", "prepare", "launch", "finalize"}
    tasks = [line for line in read(run / "provenance.jsonl") if line.activity.startswith("task/")]
    assert [line.note for line in tasks] == [one["status"] for one in done]
    assert next(one["where"] for one in done if one["task"] == "serve").endswith("market/workflow.yaml:6:5")
    assert next(one["where"] for one in done if one["task"] == "install").endswith("services/Server.py:8:1")
    assert json.loads((run / "responses.json").read_text())["cpu_seconds@cloud-0"]["value"] > 0
    assert "cpu_seconds" in said


def test_hosts_have_file_systems_of_their_own(twice: tuple[str, list[Path]]) -> None:
    _, (run, _) = twice
    if any("have no layer of their own" in warning for warning in json.loads((run / "run.json").read_text())["warnings"]):
        pytest.skip("this kernel lets no layer be put over its file system")
    assert not Path("/root/serve.py").exists()
    assert not Path("/opt/server").exists()


def test_what_a_killed_run_leaves_is_removed(tmp_path: Path) -> None:
    workflow = "- hosts: edge\n  launch:\n  - shell: sleep 600\n"
    folder = scenario(tmp_path, workflow=workflow, network="networks: null")
    running = start("e2clab", "run", "market", "artifacts", cwd=folder)
    journal = next(iter(wait_for(lambda: list((folder / "state").rglob("*.jsonl")))))
    meeting = next(json.loads(line)["value"] for line in wait_for(lambda: [line for line in lines(journal) if '"folder"' in line]))
    wait_for(lambda: sleeping(journal.stem))
    running.kill()
    running.communicate()
    assert estran("clean", cwd=folder).returncode == 0
    wait_for(lambda: not sleeping(journal.stem))
    assert not Path(meeting).exists()
    assert not journal.exists()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def sleeping(run_id: str) -> list[str]:
    """Processes of tasks that belong to a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"ESTRAN_RUN={run_id}.".encode() in entry.read_bytes():
                found.append(entry.parent.name)
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


FAILURES = {
    "a task": (
        "- hosts: edge\n  prepare:\n  - shell: test {{ inventory_hostname }} != edge-1\n  - shell: echo on\n",
        r"market/workflow.yaml:3:5.*the task 'shell' failed on edge-1: non-zero return code; status 1", 4 + 3,
    ),
    "in the background": (
        "- hosts: cloud\n  launch:\n  - {name: die, shell: sleep 0.4; exit 3, async: 100, poll: 0}\n  - shell: echo on\n",
        r"market/workflow.yaml:3:5.*the background task 'die' failed on cloud-0", 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_fails_the_run_where_it_happened(tmp_path: Path, what: str) -> None:
    workflow, message, tasks = FAILURES[what]
    status, said, (run,) = ran(scenario(tmp_path, workflow=workflow, network="networks: null"), "--duration", "20")
    assert status == 1
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "failed"
    assert re.search(message, record["failure"]["what"])
    assert len(results(run)) == tasks, "hosts that have not failed go on to the end of the list"
    assert "failed" in said


TRIED = """
- hosts: cloud
  launch:
  - copy: {content: "{{ optimization_config.workers * 2 }} {{ env_whom }}", dest: /root/result}
  finalize:
  - fetch: {src: /root/result, dest: "{{ working_dir }}/", flat: yes}
"""


def test_each_set_of_an_optimisers_values_is_launched(tmp_path: Path) -> None:
    folder = scenario(tmp_path, workflow=TRIED, network="networks: null")
    (folder / "values.yaml").write_text("- {workers: 2}\n- {workers: 3}\n")
    status, said, (run,) = ran(folder, "--optimization_config", "values.yaml", "--app_conf", "first")
    assert status == 0, said
    assert [(run / "output" / "first" / f"trial-{number}" / "result").read_text() for number in (1, 2)] == ["4 Ann", "6 Ann"]
    record = json.loads((run / "run.json").read_text())
    assert record["optimization_config"] == {"first trial-1": {"workers": 2}, "first trial-2": {"workers": 3}}
    assert "launch first trial-2" in [phase["name"] for phase in record["phases"]]
    assert (run / "report.html").exists()


def test_values_that_are_needed_or_wrong_are_told_before_anything_starts(tmp_path: Path) -> None:
    folder = scenario(tmp_path, workflow=TRIED)
    given = {"on": "emulate", "configurations": ["first"], "duration": 0.0}
    with pytest.raises(RequestError, match=r"workflow.yaml:4:5.*'copy' needs optimization_config"):
        ask(folder / "market", folder / "artifacts", **given)
    (folder / "values.yaml").write_text("\n[]\n")
    with pytest.raises(EstranError, match=r"values.yaml:2:1.*no map"):
        ask(folder / "market", folder / "artifacts", values=folder / "values.yaml", **given)
    (folder / "values.yaml").write_text("{workers: 4}")
    (trial,) = ask(folder / "market", folder / "artifacts", values=folder / "values.yaml", **given).trials
    assert (trial.name, trial.folder(Path("output"))) == ("first", Path("output/first"))


def test_a_plug_in_that_raises_fails_the_run_at_its_line(tmp_path: Path) -> None:
    folder = scenario(tmp_path, network="networks: null")
    (folder / "market" / "services").mkdir()
    (folder / "market" / "services" / "Server.py").write_text(PLUGIN.replace('self.env["greeting"]', 'self.env["greet"]'))
    status, _, (run,) = ran(folder)
    assert status == 1
    failure = json.loads((run / "run.json").read_text())["failure"]
    assert failure["phase"] == "deploy"
    assert "services/Server.py:11: KeyError: 'greet'" in failure["what"]


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, {"configurations": ["frist"]}, "workflow_env.yaml has no configuration 'frist'\n  → did you mean 'first'?"),
        ({}, {"on": "simulate"}, "tasks cannot be simulated"),
        ({"workflow": WORKFLOW + "  serial: 1\n"}, {}, "the key 'serial' of a play is not built"),
        ({"workflow": WORKFLOW.replace("- debug:", "- debgu:")}, {}, "there is no module 'debgu'\n  → did you mean 'debug'?"),
        ({"network": NETWORK.replace("src: cloud", "src: cloud.server.1.part.1")}, {}, "links are shaped before plug-ins run"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    tmp_path: Path, changed: dict[str, str], options: dict[str, Any], message: str
) -> None:
    folder = scenario(tmp_path, **changed)
    given = {"on": "emulate", "configurations": [], "duration": 0.0} | options
    with pytest.raises(RequestError) as raised:
        ask(folder / "market", folder / "artifacts", **given)
    assert message in str(raised.value)
