"""Whatever is in what a user writes: experiments, options, platform files, scenarios, task lists, tables. See `hostile`."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Mapping
from contextlib import chdir, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from estran.errors import EstranError, RequestError
from estran.learning.snapshots import difference, patched
from estran.learning.tables import read_columns
from estran.platforms.files import platform_of
from estran.spec import dump, load_text
from estran.spec.calibration import read_calibration
from estran.spec.claim_parser import ClaimError, parse_claim
from estran.spec.document import parse_value, read_ansible
from estran.spec.e2clab import read_scenario
from estran.study.rows import read_design, read_points
from estran.tasks.errors import EvaluationError
from estran.tasks.runner import TaskRunner
from estran.tasks.templating import Templates
from estran.units import QuantityError, parse
from tests.spec.e2clab.scenarios import DIALECTS, write
from tests.spec.test_calibration import CALIBRATIONS

from .hostile import BOMB, TOKENS, as_json, bounded, examples, judged, mutated_bytes, mutated_document, mutated_file, verb

ROOT = Path(__file__).parents[2]
EXPERIMENTS = {
    f"{path.parent.name}/{path.name}": path
    for path in sorted((ROOT / "examples").glob("*/*.yaml"))
    if b"\nservices:" in path.read_bytes()
}
OPTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "seed",
                "layers.edge.hosts",
                "network.0.delay",
                "measure.duration",
                "services",
                "streams.0.to.0",
                "",
                "x..y",
                "claims.0",
            ]
        )
        | st.text(max_size=8),
        st.sampled_from(TOKENS).map(lambda token: token.decode("utf-8", "surrogateescape")) | st.text(max_size=8),
    ).map("=".join)
    | st.text(max_size=6),
    max_size=2,
)


def _document(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _dumped(data: Any) -> bytes:
    """As YAML, or else as JSON, which is YAML, too."""
    try:
        return dump(data).encode("utf-8", "surrogateescape")
    except Exception:  # noqa: BLE001 - what cannot be written as YAML is not judged here
        return as_json(data)


@st.composite
def _mutated_yaml(draw: st.DrawFn, content: bytes, *, most: int = 2) -> bytes:
    if draw(st.booleans()):
        return draw(mutated_bytes(content))
    data = draw(mutated_document(_document(content.decode()), most=most))
    return _dumped(data) if draw(st.integers(0, 2)) else as_json(data)


def _plans(path: Path, options: list[str]) -> None:
    """What is checked is also planned, both as a user would; what cannot be is refused."""
    chosen = [part for option in options for part in ("--set", option)]
    if verb("check", str(path), *chosen) is not None:
        verb("plan", str(path), "--on", "simulate", "--json", *chosen)


@pytest.mark.parametrize("name", EXPERIMENTS)
@examples(8)
@given(data=st.data())
def test_experiments(tmp_path: Path, name: str, data: st.DataObject) -> None:
    folder = tmp_path / "experiment"
    if not folder.exists():
        shutil.copytree(EXPERIMENTS[name].parent, folder, ignore=shutil.ignore_patterns("runs", "studies"))
    path = folder / "mutated.yaml"
    content = EXPERIMENTS[name].read_bytes().replace(b"10000", b"20").replace(b"4000", b"40")  # or plans would be long
    path.write_bytes(data.draw(_mutated_yaml(content)))
    _plans(path, data.draw(OPTIONS) if data.draw(st.integers(0, 3)) == 0 else [])


@pytest.mark.parametrize(
    "content",
    [
        BOMB.encode(),
        f"experiment: x\nlayers:\n{BOMB}".encode(),
        b"a: &a {b: *a}",
        b"? [a]\n: b",
        b"[" * 100_000,
        b"{a: " * 100_000,
        b"- " * 100_000,
        b"a: " * 1000 + b"\n",
        b"experiment: 1\0",
        b"\xef\xbb\xbfexperiment: x",
        b"experiment: x\r\nseed: 1\r\n",
        b"a:\n\tb: 1",
        b"a: 1\na: 2",
        b"\xff\xfe",
        "experiment: x".encode("utf-16"),
        b"seed: " + b"9" * 100_000,
        b"seed: 1e400",
        b"seed: 0x" + b"f" * 100_000,
        b"experiment: " + b"x" * 1_000_000,
        b"experiment: &a x\nb: [*a, *b]",
        b"\n" * 100_000,
        b"#" * 1_000_000,
        b"a: '" + b"'" * 100_001,
        b"--- \n--- \n",
        b"<<: *a",
        b"<<: {<<: {<<: 1}}",
        b"x: !!python/object/new:os.system [id]",
        b"a: |\n" + b" " * 100_000,
        b"%TAG ! " + b"x" * 1000 + b"\n--- !x",
        b"seed: " + b"1:" * 2000 + b"1",
        b"seed: ! 1",
        b"a: !<tag:yaml.org,2002:int> x",
        b'a: "\\ud800"',
        b'a: "\\uZZZZ"',
        b'a: "\\UFFFFFFFF"',
    ],
)
def test_known_traps_of_yaml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(content)
    assert verb("check", str(path)) is None
    (tmp_path / "platform.yaml").write_bytes(content)
    with pytest.raises(RequestError), bounded():
        platform_of(tmp_path / "platform.yaml")
    judged(lambda: read_ansible(content.decode("utf-8", "replace"), "tasks.yml"))


@examples(50)
@given(options=OPTIONS)
def test_options(options: list[str]) -> None:
    judged(lambda: load_text(EXPERIMENTS["visual-inspection/experiment.yaml"].read_text(), overrides=options))


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(TOKENS).map(lambda token: token.decode("utf-8", "surrogateescape")),
    st.lists(
        st.sampled_from(["1", "9" * 400, ".", "e", "E400", "_", "-", "+", "m", "s", "mbit", "/", " ", "%", "٣", "µs", "∞"]),
        max_size=6,
    ).map("".join),
)


@examples(100)
@given(text=TEXTS, dimension=st.sampled_from(["duration", "rate", "size", "fraction", "frequency", "power", "energy"]))
def test_quantities_and_values(text: str, dimension: Any) -> None:
    with bounded():
        with suppress(QuantityError):
            parse(text, dimension)
        with suppress(ValueError):
            parse_value(text)


CLAIMS = [
    "accuracy(placement=cloud) - accuracy(placement=edge) >= 0.02 at 95%",
    "mean(latency, placement=edge) within 10% of 120ms at 99%",
    "latency_p99 <= 120ms ± 5%",
    "a(x=[1, {b: 2}], y='z') / b < 3",
]


@examples(75)
@given(data=st.data())
def test_claims(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(CLAIMS).flatmap(lambda claim: mutated_bytes(claim.encode()))).decode(
        "utf-8", "surrogateescape"
    )
    with bounded(), suppress(ClaimError):
        parse_claim(text)


@pytest.mark.parametrize("text", ["latency <= 120_", "latency <= 1_.5", "latency <= 1__0ms"])
def test_claims_whose_numbers_are_none(text: str) -> None:
    with pytest.raises(ClaimError):
        parse_claim(text)


PLATFORMS = {
    "ssh": b"platform: ssh\nuser: me\nhosts:\n  - {host: 'node[01-03].lab', labels: [edge], port: 2222, python: python3.12}\n"
    b"  - {host: 'fe80::1', name: fog, jump: 'me@gate:22', known_hosts: accept-new, client: openssh, timeout: 3s}\n"
    b"layers: {edge: [edge]}\nbehind: [edge]\ngateway: fog\npackages: [numpy]\n",
    "slurm": b"platform: slurm\nlogin: {host: login.example.org, user: me}\npartition: cpu\n"
    b"account: tides\ntime: 90min\nmodules: [python/3.11]\n"
    b"options: {reservation: week-3}\nlayers:\n"
    b"  edge: {hosts_per_node: 4, cpus: 8, memory: 16GiB}\n  hpc: {gres: 'gpu:1', nodes: 4}\n",
    "testbed": b"platform: testbed\nprovider: g5k\njob: tide\nwalltime: 2h\nlayers:\n  edge: {cluster: ecotype, nodes: 4}\n"
    b"  cloud: {servers: [gros-1.nancy.grid5000.fr]}\n",
    "mixed": b"platform: mixed\nlayers: {edge: emulate, cloud: other.yaml}\ngateway: cloud\nbehind: []\n",
}


@pytest.mark.parametrize("kind", PLATFORMS)
@examples(30)
@given(data=st.data())
def test_platform_files(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    (tmp_path / "other.yaml").write_bytes(PLATFORMS["ssh"])
    path = tmp_path / "platform.yaml"
    path.write_bytes(data.draw(_mutated_yaml(PLATFORMS[kind])))
    judged(lambda: platform_of(path))


def test_a_platform_file_that_names_one_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_bytes(PLATFORMS["mixed"].replace(b"other.yaml", b"o" * 5000))
    assert judged(lambda: platform_of(tmp_path / "platform.yaml")) is not None


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(20)
@given(data=st.data())
def test_scenarios_of_e2clab(tmp_path: Path, dialect: str, data: st.DataObject) -> None:
    files = DIALECTS[dialect]
    name = data.draw(st.sampled_from(sorted(files)))
    folder = write(tmp_path / "scenario", {key: text for key, text in files.items() if key != name})
    (folder / name).write_bytes(data.draw(_mutated_yaml(files[name].encode())))
    if verb("e2clab", "check", str(folder)) is not None:
        assert verb("e2clab", "migrate", str(folder)) is not None


@pytest.mark.parametrize(
    "play",
    [
        "vars: 1.5",
        "vars: [a]",
        "launch: [{shell: date, vars: x}]",
        "launch: [{shell: date, args: abc}]",
        "launch: [{shell: date, args: [1]}]",
        "launch: [{block: [{shell: date}], vars: 1}]",
    ],
)
def test_what_is_no_map_in_a_play_is_said_at_its_place(tmp_path: Path, play: str) -> None:
    files = next(iter(DIALECTS.values()))
    folder = write(tmp_path / "scenario", files)
    (folder / "workflow.yaml").write_text(f"- hosts: cloud.*\n  {play}\n")
    error = judged(lambda: read_scenario(folder))
    assert "must be a map" in str(error)
    (folder / "workflow.yaml").write_text("- hosts: cloud.*\n  vars:\n  launch: [{shell: date, vars: , args: }]\n")
    assert verb("e2clab", "check", str(folder)) is not None
    assert verb("e2clab", "migrate", str(folder)) is not None


class Nowhere:
    """A host that tasks without a part on the host never ask for anything."""

    name = "a"
    facts: Mapping[str, Any] = MappingProxyType({})


TASKS = b"""- name: say
  debug: {msg: "{{ x | upper }} {{ item }}"}
  loop: [1, 2]
  when: x == 'value' and item > 1
- block:
    - set_fact: {y: "{{ x ~ 'z' | regex_replace('(.)', '\\\\1') }}"}
    - assert: {that: ["y is defined", "[1,2] | sum == 3"], fail_msg: no}
  rescue:
    - debug: var=y
  always:
    - fail: {msg: "{{ {'a': [1]} | dict2items }}"}
      ignore_errors: yes
- debug: {msg: "{% for i in range(3) %}{{ i }}{% endfor %}"}
  vars: {z: "{{ lookup('env', 'HOME') }}"}
  retries: 1
  delay: 0
  until: true
"""


@examples(30)
@given(data=st.data())
def test_task_lists(tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(_mutated_yaml(TASKS))
    (tmp_path / "tasks.yml").write_bytes(content)

    async def play() -> None:
        document = read_ansible(content.decode("utf-8", "replace"), str(tmp_path / "tasks.yml"))
        async with TaskRunner({"a": Nowhere()}, variables={"a": {"x": "value"}}) as runner:  # type: ignore[dict-item]
            for state in runner.states.values():
                state.gathered = True
            await runner.run(document.data, document.marks)

    with chdir(tmp_path):
        judged(lambda: asyncio.run(play()))


EXPRESSIONS = [
    "{{ x | default('a') | upper }}",
    "{% for i in range(3) %}{{ loop.index }}{% endfor %}",
    "{{ [1, 2] | map('int') | list | sum }}",
    "{{ {'a': 1} | combine({'b': [2]}) | to_json }}",
    "{{ '1.2' is version('1.1', '>') }}",
    "{{ x | regex_search('a+') }}",
    "{{ 2 ** 3 // 1 }}",
    "{{ '%d' | format(3) }}",
    "{{ now() }}",
    "{{ x | b64encode | hash('sha1') }}",
    "{{ 'a' * 10 }}",
    "{{ lookup('vars', 'x') }}",
    "{% if x %}a{% endif %}",
    "{{ range(10) | list | batch(3) | list }}",
    "{{ x | indent(4) | wordwrap(3) | center(9) }}",
    "{{ x.__class__ }}",
    "{{ '{:>9}'.format(x) }}",
]


@examples(75)
@given(data=st.data())
def test_expressions(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(EXPRESSIONS).flatmap(lambda one: mutated_bytes(one.encode()))).decode("utf-8", "replace")
    judged(lambda: Templates(lambda *_: ["found"]).evaluate(text, {"x": "value", "n": 3}))


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10 ** 12 }}",
        "{{ [0] * 10 ** 12 }}",
        "{{ range(10 ** 12) | list }}",
        "{{ 'x' | center(10 ** 12) }}",
        "{{ '%1000000000000d' | format(1) }}",
        "{{ '{:1000000000000}'.format(1) }}",
        "{{ 1 << 10 ** 12 }}",
        "{{ 'x' | indent(10 ** 12) }}",
        "{{ x.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ lookup.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ 'x' | regex_search('" + "(" * 200 + "') }}",
        "{{ 'x' is match('(') }}",
        "{{ 1 // 0 }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "-" * 20_000 + "1 }}",
        "{{ a" + ".b" * 20_000 + " }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_expressions_that_fail_in_their_own_way(text: str) -> None:
    with bounded(), pytest.raises(EvaluationError):
        Templates(lambda *_: []).evaluate(text, {"x": "value"})


@examples(40)
@given(data=st.data())
def test_calibration_files(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "calibration.json"
    data.draw(CALIBRATIONS).save(path)
    path.write_bytes(data.draw(mutated_file("x.json", path.read_bytes())))
    judged(lambda: read_calibration(path))


DESIGN = b'run,block,point,seed,placement,rate\n0,0,0,1,edge,"{""a"": 1}"\n1,0,1,2,cloud,5\n'


@examples(50)
@given(data=st.data())
def test_designs(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "design.csv"
    path.write_bytes(data.draw(mutated_file("design.csv", DESIGN)))
    judged(lambda: read_design(path))
    judged(lambda: read_points(path, ()))


def _tables() -> dict[str, bytes]:
    npz, objects = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, x=np.arange(60.0).reshape(20, 3), y=np.arange(20))
    np.savez(objects, x=np.array([print, {}], dtype=object))
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = io.BytesIO()
    pq.write_table(pa.table({"a": [1.5, None, 3.0], "b": ["x", "y", "z"]}), parquet)
    return {
        "a.npz": npz.getvalue(),
        "objects.npz": objects.getvalue(),
        "a.parquet": parquet.getvalue(),
        "a.csv": b"a,b\n1,x\n2,y\n",
        "a.tsv": b"a\tb\n1\tx\n2\ty\n",
    }


TABLES = _tables()


def test_pickles_in_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(TABLES["objects.npz"])
    with pytest.raises(EstranError, match="pickle"):
        read_columns(tmp_path / "x.npz")


@pytest.mark.parametrize("name", TABLES)
@examples(20)
@given(data=st.data())
def test_tables(tmp_path: Path, name: str, data: st.DataObject) -> None:
    (tmp_path / name).write_bytes(data.draw(mutated_file(name, TABLES[name])))
    judged(lambda: read_columns(tmp_path / name))


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A header that claims a thousand times what the file has."""
    data = io.BytesIO()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    data.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", data.getvalue())
    assert judged(lambda: read_columns(tmp_path / "x.npz")) is not None


STATE = {"w": np.arange(100.0), "b": np.zeros((3, 4), np.float32)}
_DTYPES = st.sampled_from(["<f8", "<f4", "<i8", "|u1", "<u4", "<u8", "|b1", "<c16", "|S3", "<U2"])


@examples(75)
@given(data=st.data())
def test_changes_of_snapshots(data: st.DataObject) -> None:
    new = {name: array.copy() for name, array in STATE.items()}
    new["w"][3] = 1.0
    changes = dict(difference(STATE, new))
    name = data.draw(st.sampled_from(["w", "w@", "w=", "b", "b@", "b=", "x", "", "@", "w@@"]))
    shape = data.draw(st.lists(st.integers(0, 5), max_size=2))
    content = np.array(data.draw(st.integers(-3, 300))).astype(data.draw(_DTYPES))
    changes[name] = np.full(shape, content)
    if data.draw(st.booleans()):
        changes.pop(data.draw(st.sampled_from(sorted(changes))))
    error = judged(lambda: patched(STATE, changes))
    assert error is not None or patched(STATE, changes).keys() == STATE.keys()
