from __future__ import annotations

import pytest

from estran.errors import SpecErrors
from estran.spec import dump, load_text


def wrong(text: str, **options: object) -> list[tuple[str, str, str | None]]:
    with pytest.raises(SpecErrors) as caught:
        load_text(text, source="f.yaml", **options)
    return [(str(error.where), error.what, error.remedy) for error in caught.value.errors]


def test_assignment_and_set_choose_levels(example) -> None:
    assert load_text(example, assignment={"placement": "fog"}).services["detector"].on == ("fog",)
    experiment = load_text(example, assignment={"placement": "fog"}, overrides=["placement=cloud", "publish_every=3s"])
    assert experiment.services["detector"].on == ("cloud",)
    assert experiment.services["trainer"].settings["publish"] == {"every": "3s"}
    assert experiment.assignment == {"placement": "cloud", "publish_every": "3s"}
    assert experiment.factors["publish_every"] == ("0.5s", "2s", "10s")


def test_set_rewrites_the_document(example, index) -> None:
    experiment = load_text(
        example,
        components=index,
        overrides=[
            "network.0.delay=10ms",
            "services.trainer.with.publish.every=1s",
            "seed=7",
            "services.camera.env.X=y",
            "layers.edge.hosts=2",
        ],
    )
    assert experiment.network[0].link.delay == 0.01
    assert experiment.services["trainer"].settings["publish"] == {"every": 1.0}
    assert (experiment.seed, experiment.layers["edge"].hosts) == (7, 2)
    assert experiment.services["camera"].env == {"X": "y"}
    assert experiment.document["network"][0]["delay"] == "10ms"


@pytest.mark.parametrize(
    ("option", "where", "what", "remedy"),
    [
        ("network.9.delay=1ms", "--set network.9.delay", "entries 0 to 1", None),
        ("network.0.delay=soon", "--set network.0.delay", "'soon' is not a duration", "10ms"),
        ("network.0.delai=1ms", "--set network.0.delai", "unknown key 'delai'", "did you mean 'delay'?"),
        ("placemen=cloud", "--set placemen", "no factor or key", "did you mean 'placement'?"),
        ("placement=clod", "--set placement", "services.detector.on: 'clod' matches no layer", "did you mean 'cloud'?"),
        ("publish_every=often", "--set publish_every", "services.trainer.with.publish.every: 'often' is not a duration", None),
        ("services.camra.on=edge", "--set services.camra.on", "no 'camra' in services", "did you mean 'camera'?"),
        ("services.camera.on.x=edge", "--set services.camera.on.x", "is no map", None),
        ("nothing", "--set nothing", "not of the form", None),
        ("seed=[1", "--set seed", "not a YAML value", None),
        ("seed=", "--set seed", "must be a whole number, not nothing", None),
    ],
)
def test_wrong_options_are_named(example, index, option, where, what, remedy) -> None:
    found = wrong(example, components=index, overrides=[option])
    assert len(found) == 1
    assert found[0][0] == where
    assert what in found[0][1]
    assert remedy is None or remedy in str(found[0][2])


def test_an_unknown_factor_in_an_assignment(example) -> None:
    assert wrong(example, assignment={"placemnt": "edge"})[0][1:] == ("no such factor", "did you mean 'placement'?")


def test_a_whole_reference_keeps_the_type_and_a_part_is_text() -> None:
    text = """\
experiment: "x-${n}"
layers: {a: {hosts: "${n}", device: laptop}}
services: {s: "${what}"}
factors:
  n: [3, 4]
  what:
    - {on: a, command: "echo ${n} ${flag} $${HOME}", cores: "${n}"}
    - {on: a, component: source, with: "${deep}"}
  flag: [true]
  deep: [{rate: "${n}"}]
"""
    experiment = load_text(text)
    assert experiment.name == "x-3"
    assert experiment.layers["a"].hosts == 3
    assert experiment.services["s"].command == ("echo", "3", "true", "${HOME}")
    assert experiment.services["s"].cores == 3
    other = load_text(text, assignment={"what": experiment.factors["what"][1], "n": 4})
    assert other.services["s"].settings == {"rate": 4}


def test_cycles_are_named_once() -> None:
    text = """\
experiment: x
layers: {a: {hosts: "${p}", device: laptop}}
services: {s: {on: a, command: ls}}
factors:
  p: ["${q}"]
  q: [1, "${r}"]
  r: ["${p}"]
"""
    assert wrong(text) == [("f.yaml:5:3", "factors.p: refers to itself: p → q → r → p", "break the cycle")]


def test_a_map_cannot_stand_inside_a_text(example) -> None:
    found = wrong(example.replace("[0.5s, 2s, 10s]", "[{a: 1}]").replace('"${publish_every}"', '"x${publish_every}"'))
    assert "cannot stand inside a text" in found[0][1]


@pytest.mark.parametrize("assignment", [{}, {"placement": "cloud"}, {"placement": ["edge-1", "cloud"], "publish_every": "7s"}])
def test_the_resolved_document_loads_to_an_equal_experiment(example, index, assignment) -> None:
    text = example.replace("{data: digits,", "{data: '$${HOME}/digits',")
    experiment = load_text(text, assignment=assignment, components=index)
    again = load_text(dump(experiment.document), components=index)
    assert again == experiment
    assert again.document == experiment.document
    assert "${placement}" not in dump(experiment.document)


def test_the_resolved_document_keeps_the_order_of_the_file(example) -> None:
    keys = [line.split(":")[0] for line in dump(load_text(example).document).splitlines() if line[:1].isalpha()]
    assert keys == ["experiment", "seed", "layers", "network", "services", "streams", "factors", "measure", "assignment"]


def test_a_resolved_document_says_that_its_factors_are_settled(example) -> None:
    text = dump(load_text(example).document)
    found = wrong(text, overrides=["placement=cloud"])
    assert found[0][0] == "--set placement"
    assert "already written in" in found[0][1]
