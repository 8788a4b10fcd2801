from __future__ import annotations

from pathlib import Path

import pytest

from estran.errors import SpecErrors, Where
from estran.spec import check_levels, load, load_text
from estran.spec.model import LinkRule, LinkSpec, Port, Stream, Until


def wrong(text: str, **options: object) -> list[tuple[str, str, str | None]]:
    with pytest.raises(SpecErrors) as caught:
        load_text(text, source="f.yaml", **options)
    return [(str(error.where), error.what, error.remedy) for error in caught.value.errors]


def test_the_example_of_the_design(example, index) -> None:
    experiment = load_text(example, components=index)
    assert experiment.name == "visual-inspection"
    assert experiment.seed == 42
    assert experiment.layers["edge"].hosts == 4
    assert experiment.layers["edge"].device.name == "raspberry-pi-4"
    assert experiment.network == (
        LinkRule("edge", "fog", LinkSpec(0.005, 0.0, 1e8, 0.001)),
        LinkRule("fog", "cloud", LinkSpec(0.04, 0.002, 5e7, 0.0)),
    )
    assert experiment.services["camera"].settings == {"data": "digits", "order": "class-incremental", "rate": 50.0}
    assert experiment.services["trainer"].settings == {"learner": {"mlp": {"hidden": [64]}}, "publish": {"every": 0.5}}
    assert experiment.services["detector"].on == ("edge",)
    assert experiment.streams[0].routing == "paired"
    assert experiment.streams[1] == Stream(Port("trainer", "models"), (Port("detector", "models"),), "latest", "all")
    assert experiment.assignment == {"placement": "edge", "publish_every": "0.5s"}
    assert experiment.factors["placement"] == ("edge", "fog", "cloud")
    assert (experiment.measure.warmup, experiment.measure.duration, experiment.measure.until) == (2.0, 20.0, None)


CASES = [
    # what to replace, by what («: where the error must point), a part of the message, a part of the remedy
    ("hosts: 4", "hosts: «-2", "must be at least 1, not -2", None),
    ("hosts: 4", "hosts: «2.5", "must be a whole number", None),
    ("hosts: 4", "hosts: «true", "must be a whole number, not true", None),
    ("hosts: 4", 'hosts: «"4"', "must be a whole number, not '4'", None),
    ("hosts: 4", "«hostz: 4", "unknown key 'hostz'", "did you mean 'hosts'?"),
    ("  edge:  {hosts: 4, device: raspberry-pi-4}", "  «edge:  {device: raspberry-pi-4}", "'hosts' is missing", "add hosts:"),
    ("raspberry-pi-4", "«rasberry-pi-4", "'rasberry-pi-4' is no known device", "did you mean 'raspberry-pi-4'?"),
    ("delay: 5ms", "delay: «fast", "'fast' is not a duration", "write 10ms"),
    ("delay: 5ms", "delay: «5", "5 has no unit for a duration", "write 10ms"),
    ("delay: 5ms", "delay: «-5ms", "out of range", None),
    ("loss: 0.1%", "loss: «500%", "a fraction is between 0% and 100%", None),
    ("rate: 100mbit", "rate: «0", "must be more than zero", None),
    ("rate: 100mbit", "rate: «12MB/s", "counts bytes", "write 96mbit"),
    ("rate: 100mbit", "«rate: {up: 3mbit}", "the key 'down' is missing", None),
    ("[edge, fog],", "[edge, «fogg],", "'fogg' matches no layer or host", "did you mean 'fog'?"),
    ("[edge, fog],", "[edge, «edge-9],", "'edge-9' matches no layer or host", "did you mean"),
    ("[edge, fog],", "«[edge],", "at least 2 entries", None),
    ("- {between: [edge, fog],", "- «{from: edge,", "needs both from: and to:", None),
    ("- {between: [edge, fog],", "- {from: edge, «tow: fog,", "unknown key 'tow'", "did you mean 'to'?"),
    ("delay: 40ms,", "delay: 40ms, link: «wify-5,", "'wify-5' is no known link", "did you mean 'wifi-5'?"),
    ("on: edge", "on: «edgy", "'edgy' matches no layer or host", "did you mean 'edge'?"),
    ("on: edge", "on: [edge, «'rim-*']", "'rim-*' matches no layer or host", None),
    ("component: source", "component: «sorce", "'sorce' is no known component", "did you mean 'source'?"),
    ("component: source", "component: «my.module:Thing", "cannot be imported", "check the module"),
    ("  camera:   {on: edge, component: source,", "  «camera:   {on: edge,", "needs a component: or a command:", None),
    ("component: source", "component: source, «command: ls", "not both", None),
    ("data: digits, ", "data: digits, «ordr: shuffled, ", "unknown key 'ordr'", "did you mean 'order'?"),
    ("order: class-incremental", "order: «class-incremntal", "is none of shuffled,", "'class-incremental'?"),
    ("with: {data: digits, ", "«with: {", "the key 'data' is missing", None),
    ("rate: 50/s", "rate: «often", "'often' is not a frequency", "50/s"),
    ("max_size: 16", "max_size: «many", "must be a whole number", None),
    ("hidden: [64]", "«hiden: [64]", "unknown key 'hiden'", "did you mean 'hidden'?"),
    ("from: camera.samples", "from: «camra.samples", "there is no service 'camra'", "did you mean 'camera'?"),
    ("from: camera.samples", "from: «camera.sample", "has no output 'sample'", "did you mean 'samples'?"),
    ("from: camera.samples", "from: «camera", "is no port", "service.port"),
    ("from: camera.samples", "from: «detector.samples", "is an input; a stream goes from an output to inputs", "swap"),
    ("to: detector.models", "to: «camera.samples", "is an output; a stream goes from an output to inputs", "swap"),
    ("to: detector.models", "to: «detector.samples", "takes Samples, but trainer.models gives Model", None),
    ("delivery: latest", "delivery: «newest", "'newest' is none of acknowledged, latest", None),
    ("[detector.samples, trainer.samples]", "[detector.samples, «detector.samples]", "is already connected", None),
    ('"${placement}"', '«"${placment}"', "${placment} is not a factor", "did you mean 'placement'?"),
    ("placement: [edge, fog, cloud]", "placement: [edge, fog, cloud]\n  «spare: [1, 2]", "nothing uses this factor", '"${spare}"'),
    ("placement: [edge, fog, cloud]", "placement: «[]", "at least one level", None),
    ("placement: [edge, fog, cloud]", "placement: «edge", "must be a list", "[edge]"),
    ("placement: [edge, fog, cloud]", "placement: [edge, fog, «edge]", "occurs twice", None),
    ("placement: [edge, fog, cloud]", "placement: [«egde, fog]", "services.detector.on: 'egde' matches", "'edge'?"),
    ("0.5s, 2s", "«soon, 2s", "services.trainer.with.publish.every: 'soon' is not a duration", None),
    ("warmup: 2s", "warmup: 2s, «until2: x", "unknown key 'until2'", "did you mean 'until'?"),
    ("duration: 20s", "duration: «0s", "more than zero", None),
    ("duration: 20s", "duration: 20s, until: «accuracy", "'accuracy' is not a condition", "accuracy >= 0.9"),
    ("duration: 20s", "duration: 20s, until: «accuracy > high", "is not a condition", None),
    ("duration: 20s", "duration: 20s, until: «acuracy > 0.9", "'acuracy' is no known metric", "did you mean 'accuracy'?"),
    ("seed: 42", "seed: «-1", "at least 0", None),
    ("seed: 42", "«sed: 42", "unknown key", "did you mean 'seed'?"),
    ("seed: 42", "seed: 42\n«seed: 43", "the key 'seed' occurs twice; first on line 2", None),
    ("visual-inspection", "«visual inspection", "cannot name an experiment", None),
    ("services:", "«service:", "unknown key", "did you mean 'services'?"),
    ("layers:", "«layer:", "unknown key", "did you mean 'layers'?"),
    ("streams:", "«stream:", "unknown key", "did you mean 'streams'?"),
    ("factors:", "«factor:", "unknown key", "did you mean 'factors'?"),
    ("experiment: visual-inspection", "«experimen: visual-inspection", "unknown key", "did you mean 'experiment'?"),
    ("seed: 42", "seed: 42\nlinks: {x: {like: «nope}}", "'nope' is no known link", None),
    ("seed: 42", "seed: 42\ndevices: {«x: {cores: 1}}", "speed, memory, idle_power, busy_power missing", "like:"),
    ("seed: 42", "seed: 42\ndevices: {«x: {like: laptop, idle_power: 99W}}", "idle power 99W is above busy power 40W", None),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "what", "remedy"), CASES, ids=[new[:40] for _, new, _, _ in CASES])
def test_one_mistake_makes_one_error_at_its_place(example, index, old, new, what, remedy) -> None:
    assert old in example
    text = example.replace(old, new, 1)
    before = text[: text.index("«")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = wrong(text.replace("«", ""), components=index)
    assert len(found) == 1, found
    assert found[0][0] == f"f.yaml:{line}:{column}"
    assert what in found[0][1]
    assert remedy is None or remedy in str(found[0][2])


def test_all_errors_come_at_once_in_the_order_of_the_file(example, index) -> None:
    text = example
    for old, new in (
        ("hosts: 4", "hosts: none"),
        ("5ms", "fast"),
        ("on: edge", "on: edgy"),
        ("camera.samples", "camra.samples"),
        ("2s,", "x,"),
    ):
        text = text.replace(old, new, 1)
    found = wrong(text, components=index)
    lines = [int(where.split(":")[1]) for where, _, _ in found]
    assert lines == sorted(lines)
    assert {4, 8, 11, 15} <= set(lines)


def test_a_wrong_delay_hides_no_wrong_selector_beside_it(example) -> None:
    text = example.replace("{between: [edge, fog],  delay: 5ms", "{between: [edgy, foggy],  delay: fast")
    assert [what.split(": ")[0] for _, what, _ in wrong(text)] == ["network.0.between.0", "network.0.between.1", "network.0.delay"]


def test_commands() -> None:
    text = """\
experiment: x
layers: {edge: {hosts: 2, device: laptop}}
services:
  db:
    {on: edge-0, command: "redis-server --port 6379 'a b'", ports: 6379,
     env: {A: 1, B: true}, ready: {port: 6379, timeout: 5s}, restart: always}
"""
    service = load_text(text).services["db"]
    assert service.command == ("redis-server", "--port", "6379", "a b")
    assert service.env == {"A": "1", "B": "true"}
    assert (service.ports, service.ready.port, service.ready.timeout, service.restart) == ((6379,), 6379, 5.0, "always")
    assert "cannot be split" in wrong(text.replace("'a b'", "'a b"))[0][1]
    assert "one sign decides" in wrong(text.replace("{port: 6379,", "{port: 6379, file: x,"))[0][1]
    assert "not a regular expression" in wrong(text.replace("{port: 6379,", "{output: '(',"))[0][1]
    assert "has no settings" in wrong(text.replace("ports: 6379", "with: {a: 1}"))[0][1]
    assert "wants 99 cores" in wrong(text.replace("ports: 6379", "cores: 99"))[0][1]
    stream = wrong(text + "streams: [{from: db.x, to: db.y}]\n")
    assert "'db' is a command" in stream[0][1]


def test_devices_and_links_of_the_file() -> None:
    experiment = load_text("""\
experiment: x
devices:
  tiny: {like: raspberry-pi-zero-2, memory: 256MiB, sources: {memory: {text: a board of ours}}}
  tinier: {like: tiny, speed: 0.01}
links:
  slow: {like: 4g, rate: {up: 1mbit, down: 2mbit}}
layers: {a: {hosts: 1, device: tinier}, b: {hosts: 1, device: laptop}}
network:
  - {between: [a, b], link: slow, delay: 1s}
  - {between: [a, b], link: lan, rate: null}
services: {s: {on: a, command: sleep 1}}
""")
    device = experiment.layers["a"].device
    assert (device.name, device.cores, device.memory, device.speed) == ("tinier", 4, 256 * 2**20, 0.01)
    assert device.sources["memory"].text == "a board of ours"
    assert device.sources["speed"].text == "given in the experiment file"
    up, down, last = experiment.network
    assert (up.source, up.target, up.symmetric, up.link.rate, up.link.delay) == ("a", "b", False, 1e6, 1.0)
    assert (down.source, down.target, down.link.rate) == ("b", "a", 2e6)
    assert last.link.rate is None
    assert last.symmetric


def test_a_one_way_rule_refuses_a_link_with_two_rates() -> None:
    found = wrong("""\
experiment: x
layers: {a: {hosts: 1, device: laptop}, b: {hosts: 1, device: laptop}}
network: [{from: b, to: a, link: 4g}]
services: {s: {on: a, command: sleep 1}}
""")
    assert "one rate up and another down" in found[0][1]
    assert "between: [b, a]" in str(found[0][2])


@pytest.mark.parametrize(
    ("raw", "where", "what"),
    [
        (b"", "1:1", "empty"),
        (b"# only a comment\n", "1:1", "empty"),
        (b"- 1\n", "1:1", "must be a map"),
        (b"experiment: x\n\tseed: 1\n", "2:1", "tab"),
        (b"experiment: [x\n", "2:1", "YAML"),
        (b"experiment: caf\xe9\n", "1:16", "UTF-8"),
        (b"a: 1\n---\nb: 2\n", "2:1", "more than one"),
        (b"a: *nothing\n", "1:4", "alias"),
        (b"a: \x00\n", "1:4", "not allowed"),
        (b"a: b: c\n", "1:5", "':'"),
        (b"%YAML 9.9\n---\na: 1\n", "1:1", "version"),
    ],
)
def test_unreadable_files(tmp_path: Path, raw: bytes, where: str, what: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(raw)
    with pytest.raises(SpecErrors, match=what) as caught:
        load(file)
    assert str(caught.value.errors[0].where) == f"{file}:{where}"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors, match="no such file"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(SpecErrors, match="cannot be read"):
        load(tmp_path)


def test_anchors_and_merges(example) -> None:
    text = example.replace(
        "edge:  {hosts: 4, device: raspberry-pi-4}", "edge: &e {hosts: 4, device: raspberry-pi-4}\n  rim: {<<: *e, hosts: 2}"
    )
    experiment = load_text(text)
    assert (experiment.layers["rim"].hosts, experiment.layers["rim"].device.name) == (2, "raspberry-pi-4")


def test_unresolvable_names_are_no_second_error(example) -> None:
    assert len(wrong(example.replace("on: cloud", 'on: ["${nope}"]'))) == 1
    assert len(wrong(example.replace("hosts: 4", 'hosts: "${nope}"'))) == 1
    assert len(wrong(example.replace("delay: 5ms", 'delay: "${nope}ms"'))) == 1


def test_until(example, index) -> None:
    text = example.replace("duration: 20s", "duration: 20s, until: confidence >= 9e-1")
    assert load_text(text, components=index).measure.until == Until("confidence", ">=", 0.9)


def test_names_that_would_clash(example) -> None:
    found = wrong(example.replace("  fog:", "  edge-1: {hosts: 1, device: laptop}\n  fog:"))
    assert "is also the name of a host" in found[0][1]
    found = wrong(example.replace("  trainer: ", "  camera-1: {on: edge, component: source}\n  trainer: "))
    assert "may also be the name of a replica of 'camera'" in found[0][1]


def test_levels_that_only_a_study_would_meet(tmp_path: Path, example, index) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(example)
    assert check_levels(file, components=index) == ()
    file.write_text(example.replace("[edge, fog, cloud]", "[edge, fgo, cloud]").replace("10s", "never"))
    errors = check_levels(file, components=index)
    assert [error.where for error in errors] == [Where(str(file), 18, 21), Where(str(file), 19, 29)]


def test_loading_imports_pydantic_only_when_it_loads() -> None:
    import subprocess
    import sys

    code = "import sys, estran.spec; sys.exit('pydantic' in sys.modules or 'ruamel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
