"""What a platform file of kind ``slurm`` may say, and what is said of one that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from estran.errors import SpecErrors
from estran.platforms.slurm.commands import step, submission
from estran.platforms.slurm.file import read_request, slurm_schema
from estran.platforms.slurm.request import Request
from estran.spec.document import read_text

PAGES = [Path(__file__).parents[3] / "docs" / page for page in ("reference/platform-slurm.md", "how-to/slurm.md")]
LAYERS = {"edge": ["edge-0", "edge-1", "edge-2"], "hpc": ["hpc-0", "hpc-1"]}
WHOLE = """\
platform: slurm
login: me@login.example.org
partition: cpu
account: tides
qos: normal
constraint: skylake&ib
time: 90min
modules: python/3.11
options: {reservation: week-3, spread-job: null}
layers:
  edge: {hosts_per_node: 2, cpus: 4, memory: 1.5GiB}
  hpc:
    partition: gpu
    gres: gpu:1
    nodes: 4
    modules: [cuda/12, python/3.12]
    python: python3.12
"""


def read(text: str) -> Request:
    return read_request(read_text(text, "cluster.yaml"), LAYERS)


def messages(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as told:
        read(text)
    return [str(error) for error in told.value.errors]


def fits(text: str) -> bool:
    return Draft202012Validator(slurm_schema()).is_valid(YAML(typ="safe", pure=True).load(text))


def test_a_whole_file_becomes_a_heterogeneous_job() -> None:
    request = read(WHOLE)
    edge, hpc = request.parts
    assert (edge.nodes, edge.places) == (2, {"edge-0": 0, "edge-1": 1, "edge-2": 0})
    assert (hpc.nodes, hpc.places, hpc.python, hpc.modules) == (
        4,
        {"hpc-0": 0, "hpc-1": 1},
        "python3.12",
        ("cuda/12", "python/3.12"),
    )
    assert (request.cost.nodes, request.cost.node_hours) == (6, 9.0)
    assert str(request.cost) == "6 nodes for 90min at the most: 9 node-hours"
    argv = submission(request, "estran-x")
    first, second = argv[: argv.index(":")], argv[argv.index(":") + 1 :]
    assert {"--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=4", "--mem=3072M", "--partition=cpu", "--spread-job"} <= set(first)
    assert {"--nodes=4", "--exclusive", "--partition=gpu", "--gres=gpu:1", "--account=tides", "--reservation=week-3"} <= set(second)
    assert {"--time=90", "--no-requeue", "--job-name=estran-x"} <= set(first) & set(second)
    assert fits(WHOLE)


def test_layers_whose_nodes_are_alike_are_one_job_and_each_has_nodes_of_its_own() -> None:
    (part,) = read("platform: slurm\ntime: 1h\n").parts
    assert (part.nodes, part.places) == (5, {"edge-0": 0, "edge-1": 1, "edge-2": 2, "hpc-0": 3, "hpc-1": 4})
    assert fits("platform: slurm\ntime: 1h\n")


def test_modules_are_loaded_by_a_login_shell_that_leaves_standard_input_alone() -> None:
    part = read(WHOLE).parts[1]
    argv = step("7", 1, part, "n3", "run-1@hpc-0", 1000)
    assert argv[-3:-1] == ["bash", "-lc"]
    assert argv[-1].startswith("module load cuda/12 python/3.12 </dev/null >&2 && exec python3.12 -I -S -c ")
    assert {"--jobid=7", "--het-group=1", "--nodelist=n3", "--overlap", "--unbuffered"} <= set(argv)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("partition: cpu", "partitoin: cpu", "cluster.yaml:3:1: partitoin: unknown key 'partitoin'\n  → did you mean 'partition'?"),
        ("time: 90min", "time: 90", "cluster.yaml:7:7: time: 90 has no unit for a duration\n  → write 10ms, 2s or 5min"),
        ("time: 90min", "time: 30s", "cluster.yaml:7:7: time: is less than a minute, in which Slurm counts\n  → write at"),
        ("  hpc:", "  hpcs:", "cluster.yaml:12:3: layers.hpcs: the experiment has no layer 'hpcs'\n  → did you mean 'hpc'?"),
        ("nodes: 4", "nodes: 1", "cluster.yaml:15:12: layers.hpc.nodes: 1 × 1 hosts are fewer than the 2 of layer hpc"),
        (", cpus: 4", "", "cluster.yaml:11:26: layers.edge.hosts_per_node: hosts that share a node need a number of processors"),
        ("{reservation:", "{array:", "cluster.yaml:9:11: options.array: is set by Estran itself\n  → leave it out"),
        ("{reservation:", "{qos:", "cluster.yaml:9:11: options.qos: has a key of its own, qos:\n  → write it there"),
        ("spread-job", "--spread-job", "cluster.yaml:9:"),
        ("memory: 1.5GiB", "memory: 1.5Gb", "cluster.yaml:11:"),
        ("login:", "logn:", "cluster.yaml:2:1: logn: unknown key 'logn'\n  → did you mean 'login'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(old: str, new: str, told: str) -> None:
    assert old in WHOLE
    assert messages(WHOLE.replace(old, new, 1))[0].startswith(told)


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = "platform: slurm\nlayers:\n  edge: {nodes: 0}\n  hpc: {cpus: some}\n"
    assert [message.split(": ")[0] for message in messages(text)] == ["cluster.yaml:1:1", "cluster.yaml:3:17", "cluster.yaml:4:15"]


@pytest.mark.parametrize(("old", "new"), [("time: 90min", "time: 90"), ("nodes: 4", "nodes: 0"), ("gres:", "gris:")])
def test_the_schema_refuses_what_the_reader_refuses(old: str, new: str) -> None:
    assert not fits(WHOLE.replace(old, new, 1))
    messages(WHOLE.replace(old, new, 1))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(slurm_schema())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_what_the_pages_show_is_read(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        read(block)
        assert fits(block)


def test_the_reference_has_every_key() -> None:
    first_column = re.findall(r"^\| ([^|]+)", PAGES[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    described = {key for cell in first_column for key in re.findall(r"`([a-z_]+)`", cell)}
    schema = slurm_schema()
    assert described == {*schema["properties"], *schema["$defs"]["LayerNodes"]["properties"]}
