"""Platform files of kind testbed: what is right, what is wrong and where, what it costs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import SpecErrors
from estran.platforms.testbeds.file import asked_in, cost, read_testbed_file, schema_of_testbeds
from estran.platforms.testbeds.models import CloudFile, Grid5000File, IotLabFile, TestbedFile
from estran.spec.document import dump, read_text

SCHEMA = schema_of_testbeds()


def read(text: str) -> TestbedFile:
    return asked_in(read_text(textwrap.dedent(text), "here.yaml"), Path("/experiments"))


GRID = """\
    platform: testbed
    provider: g5k
    job: tide
    walltime: 90min
    env: debian12-min
    start: 2031-01-02 08:00:00
    layers:
      edge: {servers: [gros-1.nancy.grid5000.fr, gros-2.nancy.grid5000.fr]}
      cloud: {cluster: ecotype, nodes: 4, network: kavlan}
    """


def test_a_file_is_read_and_its_cost_known() -> None:
    asked = read(GRID)
    assert isinstance(asked, Grid5000File)
    assert (asked.walltime, asked.wait, asked.start, asked.layers["edge"].nodes) == (5400.0, 600.0, "2031-01-02 08:00:00", 2)
    assert str(cost(asked)) == "6 nodes for 90min at the most: 9 node-hours"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("platform: testbed\nlayers: {}", "here.yaml:1:1: the key 'provider' is missing"),
        ("platform: testbed\nprovider: g5\nlayers: {}", "here.yaml:2:11: provider: 'g5' is none of chameleon, "),
        ("platform: testbed\nprovider: distem\nlayers: {}", "here.yaml:2:11: provider: 'distem' is not built"),
        (GRID.replace("4, net", "0, net"), "here.yaml:9:36: layers.cloud.nodes: must be at least 1, not 0"),
        (GRID.replace("cluster: eco", "clustre: eco"), "here.yaml:9:11: layers.cloud.clustre: unknown key 'clustre'"),
        (GRID.replace("2031-01-02 08", "2031-13-02 08"), "here.yaml:6:8: start: '2031-13-02 08:00:00' is no moment"),
        (GRID.replace("90min", "90"), "here.yaml:4:11: walltime: 90 has no unit for a duration"),
        (GRID.replace("    env: debian12-min\n", ""), "add env: debian12-min"),
        (GRID.replace("gros-2.nancy", "graf-2.nancy"), "here.yaml:8:9: layers.edge: servers are of several clusters"),
        (GRID.replace("gros-2.nancy.grid5000.fr", "gros-2"), "write for example gros-1.nancy.grid5000.fr"),
        (GRID.replace("{cluster: ecotype, nodes: 4", "{nodes: 4"), "here.yaml:9:10: layers.cloud: needs either cluster or servers"),
        ("platform: testbed\nprovider: iotlab\nlayers: {edge: {archi: m3:at86rf231}}", "here.yaml:3:16: layers.edge: needs both"),
        ("platform: testbed\nprovider: chameleon\nlayers: {edge: {flavour: a}}", "the key 'rc_file' is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is(text: str, complaint: str) -> None:
    with pytest.raises(SpecErrors) as raised:
        read(text)
    assert complaint in str(raised.value)


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "chameleon.yaml"
    file.write_text(
        "platform: testbed\nprovider: chameleon-kvm\nrc_file: rc.sh\nkey_name: mine\nlayers: {fog: {flavour: m1.medium}}\n"
    )
    asked = read_testbed_file(file)
    assert isinstance(asked, CloudFile)
    assert asked.rc_file == str(tmp_path / "rc.sh")
    boards = read("platform: testbed\nprovider: iotlab\nlayers: {edge: {archi: 'm3:at86rf231', site: paris, image: blink.elf}}")
    assert isinstance(boards, IotLabFile)
    assert boards.layers["edge"].image == "/experiments/blink.elf"


def test_machines_of_this_computer_cost_nothing() -> None:
    assert cost(read("platform: testbed\nprovider: vagrant\nlayers: {edge: {nodes: 2}}")) is None


@settings(deadline=None, max_examples=25)
@given(
    nodes=st.integers(1, 100_000), hours=st.integers(1, 1000), keep=st.booleans(),
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,30}", fullmatch=True),
)  # fmt: skip
def test_the_schema_takes_what_is_read(nodes: int, hours: int, keep: bool, name: str) -> None:
    document = {
        "platform": "testbed", "provider": "g5k", "job": name, "walltime": f"{hours}h", "keep": keep,
        "layers": {"edge": {"cluster": "azur", "nodes": nodes}},
    }  # fmt: skip
    jsonschema.validate(document, SCHEMA)
    asked = read(dump(document))
    assert (asked.nodes, asked.walltime, asked.job, asked.keep) == (nodes, hours * 3600.0, name, keep)
    known = cost(asked)
    assert known is not None
    assert known.node_hours == nodes * hours


def test_the_files_in_the_documentation_are_right() -> None:
    pages = [page for page in (Path(__file__).parents[3] / "docs").rglob("*.md") if "platform: testbed" in page.read_text()]
    shown = [
        code for page in pages for code in re.findall(r"```yaml\n(platform: testbed\n.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    assert len(shown) >= 5
    for text in shown:
        read(text)
