"""Whatever is in a file: either it loads, or the errors are ours, each with a line."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from estran.errors import SpecError, SpecErrors, Where
from estran.spec import dump, load_text, plan

from .conftest import EXAMPLE, Index

SLOW = settings(
    max_examples=40 * int(os.environ.get("ESTRAN_FUZZ", "1")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
INDEX = Index()

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**6),
    st.floats(allow_nan=False),
    st.text("ab${}.-: '\"\\%msµ\t\n", max_size=8),
    st.sampled_from(["edge", "edge-0", "${placement}", "${nope}", "10ms", "camera.samples", "*", "", "latest", "1e400s", "0"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abon_", max_size=4), inner, max_size=3)),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


BASE = YAML(typ="safe", pure=True).load(EXAMPLE)
PLACES = [place for place in places(BASE) if place]


def parent(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        data = data[key]
    return data


@st.composite
def mutated(draw: st.DrawFn) -> str:
    data = copy.deepcopy(BASE)
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4)):
        try:
            holder = parent(data, place)
            match draw(st.sampled_from(["replace", "delete", "rename", "nest"])):
                case "replace":
                    holder[place[-1]] = draw(values)
                case "delete":
                    del holder[place[-1]]
                case "rename" if isinstance(holder, dict):
                    holder[draw(st.text("aeon-_$", min_size=1, max_size=6))] = holder.pop(place[-1])
                case _:
                    holder[place[-1]] = [holder[place[-1]]]
        except (KeyError, IndexError, TypeError):
            continue
    return dump(data)


def mistakes(text: str, **options: Any) -> tuple[SpecError, ...]:
    """Errors of a text; any other exception fails the test. What loads must also plan."""
    try:
        experiment = load_text(text, source="f.yaml", components=INDEX, **options)
    except SpecErrors as errors:
        return errors.errors
    plan(experiment)
    return ()


def judged(text: str) -> None:
    for error in mistakes(text):
        assert isinstance(error.where, Where)
        assert error.where.line is not None
        assert error.where.column is not None
        assert error.what


@SLOW
@given(mutated())
def test_mutations_of_the_structure(text) -> None:
    judged(text)


@SLOW
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 12), st.text("{}[]:,-&*!|>'\"%@`#? \n\tab0", max_size=4))
def test_mutations_of_the_text(start, length, patch) -> None:
    judged(EXAMPLE[:start] + patch + EXAMPLE[start + length :])


@SLOW
@given(st.text(max_size=40))
def test_any_text_at_all(text) -> None:
    judged(text)


@SLOW
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["seed", "placement", "network.0", "services.camera.with.rate", "layers.edge", "x..y", "streams.0.to.0"]
            ),
            st.text(max_size=8),
        ),
        max_size=3,
    )
)
def test_any_option_at_all(options) -> None:
    errors = mistakes(EXAMPLE, overrides=[f"{path}={value}" for path, value in options])
    assert all(str(error.where).startswith("--set ") or error.where.line for error in errors)


quantities = st.integers(1, 10**6).map(lambda n: f"{n}us")


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(["edge", "fog", "cloud", "hpc"]), min_size=1, unique=True))
    layers = {
        name: {"hosts": draw(st.integers(1, 4)), "device": draw(st.sampled_from(["laptop", "hpc-node", "raspberry-pi-5"]))}
        for name in names
    }
    end = st.sampled_from([*names, "*"])
    network = draw(
        st.lists(
            st.fixed_dictionaries(
                {"between": st.tuples(end, end).map(list), "delay": quantities},
                optional={"loss": st.just("1%"), "link": st.just("4g")},
            ),
            max_size=3,
        )
    )
    services = {
        f"s{i}": {
            "on": draw(st.sampled_from(names)),
            "component": "source",
            "with": draw(st.dictionaries(st.text("ab", min_size=1), st.integers())),
        }
        for i in range(draw(st.integers(1, 4)))
    }
    pairs = draw(st.lists(st.tuples(st.sampled_from(list(services)), st.sampled_from(list(services))), max_size=4, unique=True))
    streams = [{"from": f"{a}.o", "to": f"{b}.i", "delivery": draw(st.sampled_from(["latest", "acknowledged"]))} for a, b in pairs]
    return {
        "experiment": "x",
        "seed": draw(st.integers(0, 2**40)),
        "layers": layers,
        "network": network,
        "services": services,
        "streams": streams,
    }


@SLOW
@given(valid())
def test_valid_documents_load_and_survive_a_round_trip(data) -> None:
    experiment = load_text(dump(data))
    assert load_text(dump(experiment.document)) == experiment
    assert len(plan(experiment).hosts) == sum(layer["hosts"] for layer in data["layers"].values())
