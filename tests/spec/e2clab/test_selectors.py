"""Selectors choose what Ansible's patterns would, and groupings give what E2Clab's would, on any inventory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError, Where
from estran.spec.e2clab.grouping import distribute
from estran.spec.e2clab.model import Dependency, Grouping
from estran.spec.e2clab.patterns import Inventory, PatternError, inventory, select, split

NAMES = st.sampled_from(["cloud", "edge", "fog"])
KEYS = st.lists(
    st.builds("{}.{}.{}.{}".format, NAMES, st.sampled_from(["server", "client"]), st.integers(1, 3), st.integers(1, 4)),
    min_size=1, max_size=20, unique=True,
)  # fmt: skip
AMONG = KEYS.map(lambda keys: inventory((key, ["extra"] if key.endswith("1") else []) for key in keys))


def found(pattern: str, among: Inventory) -> set[str]:
    try:
        return set(select(pattern, among))
    except PatternError:
        return set()


@given(AMONG)
def test_a_bare_layer_and_a_bare_service_select_all_their_machines(among: Inventory) -> None:
    for key in among.names:
        layer, service = key.split(".")[0], ".".join(key.split(".")[:2])
        assert select(layer, among) == [name for name in among.names if name.startswith(f"{layer}.")]
        assert select(service, among) == [name for name in among.names if name.startswith(f"{service}.")]
        assert select(layer, among) == select(f"{layer}.*", among)
        assert select(key, among) == [key]
        assert select(key.upper(), among) == [key]


@given(
    AMONG,
    st.lists(st.sampled_from(["cloud", "edge.*", "fog.client", "*.1.1", "extra", "~.*server", "nowhere"]), min_size=1, max_size=3),
)
def test_unions_intersections_and_differences_are_those_of_sets(among: Inventory, names: list[str]) -> None:
    sets = [found(name, among) for name in names]
    if all(sets):
        assert found(",".join(names), among) == found(":".join(names), among) == set.union(*sets)
    a, b = names[0], names[-1]
    if found(a, among) and found(b, among):
        assert found(f"{a}:&{b}", among) == found(a, among) & found(b, among)
        assert found(f"&{b}:{a}", among) == found(f"{a}:&{b}", among), "intersections come last, wherever they stand"
    if found(a, among):
        assert found(f"{a}:!{b}", among) == found(a, among) - found(b, among)
        assert found(f"!{b}", among) == set(among.names) - found(b, among)


@given(AMONG, st.integers(0, 5), st.integers(0, 5))
def test_places_count_from_zero_and_ranges_include_their_last(among: Inventory, first: int, last: int) -> None:
    names = list(among.names)
    assert found(f"all[{first}]", among) == set(names[first : first + 1])
    assert found("*[-1]", among) == {names[-1]}
    assert found(f"*[{first}:{last}]", among) == set(names[first : last + 1])
    assert found(f"*[{first}:]", among) == set(names[first:])


def test_the_order_is_that_of_the_selector_then_of_the_file() -> None:
    among = inventory((key, ()) for key in ["cloud.a.1.1", "edge.b.1.1", "edge.b.1.2", "edge.c.2.1"])
    assert select("edge.c, cloud, edge", among) == ["edge.c.2.1", "cloud.a.1.1", "edge.b.1.1", "edge.b.1.2"]
    assert select("edge.[bc].*.1", among) == ["edge.b.1.1", "edge.c.2.1"]
    assert select("edge.b.1", among) == ["edge.b.1.1", "edge.b.1.2"]
    assert select(r"~EDGE\.\w\.\d+\.2", among) == ["edge.b.1.2"]


@pytest.mark.parametrize(
    "pattern", ["", " ", "!", "cloud:&edge", "cloud:!cloud", "cloud, egde", "~(", "cloud[1]", "cloud[-2]", "&"]
)
def test_selectors_that_find_nothing_or_are_none(pattern: str) -> None:
    among = inventory([("cloud.a.1.1", ()), ("edge.b.1.1", ())])
    with pytest.raises(PatternError) as raised:
        select(pattern, among)
    assert raised.value.part in pattern or raised.value.part == "all"


@given(st.text("ab.*:,![]&0-~() ", max_size=12))
def test_any_text_is_a_selector_or_is_refused(text: str) -> None:
    among = inventory([("a.b.1.1", ()), ("b.a.1.1", ("role",))])
    try:
        keys = select(text, among)
    except PatternError:
        return
    assert set(keys) <= set(among.names)
    assert split(text)


def own(index: int, layer: str = "cloud") -> dict[str, Any]:
    return {
        "_id": f"1_{index}_1", "layer_id": "1", "service_id": str(index), "machine_id": "1",
        "__address__": f"10.0.{len(layer)}.{index}", "url": f"10.0.{len(layer)}.{index}:80", "layer": layer,
    }  # fmt: skip


def depends(grouping: Grouping, info: Any = "id", prefix: str = "server") -> Dependency:
    return Dependency("cloud", prefix, grouping, info, Where("workflow.yaml", 3, 5))


@given(st.integers(1, 12), st.integers(1, 12))
def test_round_robin_deals_services_out_evenly_and_in_order(hosts: int, services: int) -> None:
    infos = [own(index) for index in range(1, services + 1)]
    dealt = distribute(depends("round_robin"), {f"edge.{n}": {} for n in range(hosts)}, infos)
    assert list(dealt) == [f"edge.{n}" for n in range(hosts)]
    ids = [variables["server"]["_id"] for variables in dealt.values()]
    assert ids == [infos[n % services]["_id"] for n in range(hosts)]
    counts = [ids.count(info["_id"]) for info in infos]
    assert max(counts) - min(counts) <= 1


@given(st.integers(1, 6), st.integers(1, 6))
def test_arrays_and_aggregates_tell_every_host_of_every_service(hosts: int, services: int) -> None:
    infos = [own(index) for index in range(1, services + 1)]
    group = {f"edge.{n}": {"kept": n} for n in range(hosts)}
    for variables in distribute(depends("asarray"), group, infos).values():
        assert variables["server"] == [f"1{index}1" for index in range(1, services + 1)]
        assert "kept" in variables
    for variables in distribute(depends("asarray", "hostname"), group, infos).values():
        assert variables["server"] == [info["__address__"] for info in infos]
    for variables in distribute(depends("aggregate"), group, infos).values():
        assert {name: value["url"] for name, value in variables.items() if name != "kept"} == {
            f"server{index}_1": infos[index - 1]["url"] for index in range(1, services + 1)
        }


def test_address_match_keeps_only_hosts_that_are_among_the_services() -> None:
    group = {"edge.a": {"_self": own(1)}, "edge.b": {"_self": own(9)}}
    matched = distribute(depends("address_match"), group, [own(1), own(2)])
    assert list(matched) == ["edge.a"]
    assert matched["edge.a"]["server"]["_id"] == "1_1_1"


def test_dependencies_of_one_prefix_add_up_and_tell_nobody_of_others() -> None:
    infos = [own(1), own(2)]
    first = distribute(depends("asarray"), {"edge.a": {}, "edge.b": {}}, infos[:1])
    second = distribute(depends("asarray"), first, infos[1:])
    assert second["edge.a"]["server"] == ["121", "111"]
    once = distribute(depends("round_robin"), {"edge.a": {"server": {"url": "mine"}}, "edge.b": {}}, infos)
    assert once["edge.a"]["server"]["url"] == "mine"
    assert once["edge.b"]["server"]["url"] == infos[1]["url"]
    assert "mine" not in str(infos), "what one host has under the prefix is not told to the others"


def test_a_dependency_on_nothing_is_an_error_at_its_place() -> None:
    with pytest.raises(RequestError, match=r"workflow\.yaml:3:5"):
        distribute(depends("round_robin"), {"edge.a": {}}, [])
