"""Which recorded facts of two runs differ, and in which order they are told."""

from __future__ import annotations

from typing import Any

import pytest

from estran.reproduce.differences import compared
from estran.reproduce.facts import EVERY_PACKAGE, flat

BASE: dict[Any, Any] = {
    ("description", "seed"): 7,
    ("description", "network[edge ↔ cloud].delay"): "20ms",
    ("files", "heat.py"): "sha256:" + "a" * 64,
    ("files", "calibration.json"): "sha256:" + "b" * 64,
    ("platform", "platform"): "emulate",
    ("platform", "engine"): "netem",
    EVERY_PACKAGE: True,
    ("environment", "package numpy"): "2.4.6",
    ("environment", "package rich"): "15.0.0",
    ("network", "measured delay edge → cloud"): 0.0201,
    ("load", "share of the machine that was busy"): 0.1,
    ("machine", "kernel"): "Linux 6.1",
    ("repository", "commit"): "1" * 40,
}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (("description", "seed"), 8, "seed: 7 → 8"),
        (("description", "network[edge ↔ cloud].delay"), "24ms", "network[edge ↔ cloud].delay: 20ms → 24ms (+20 %)"),
        (("files", "heat.py"), "sha256:" + "c" * 64, "heat.py: sha256:aaaaaaaa… → sha256:cccccccc…"),
        (("platform", "engine"), "tun", "engine: netem → tun"),
        (("environment", "package numpy"), "2.4.5", "package numpy: 2.4.6 → 2.4.5"),
        (("network", "measured delay edge → cloud"), 0.0241, "measured delay edge → cloud: 0.0201 → 0.0241 (+19.9 %)"),
        (("machine", "kernel"), "Linux 6.2", "kernel: Linux 6.1 → Linux 6.2"),
    ],
)  # fmt: skip
def test_one_planted_change_is_named_and_nothing_else(name: Any, value: Any, told: str) -> None:
    found = compared(BASE, {**BASE, name: value})
    assert [str(one) for one in found.changed] == [told]
    assert sum(found.same.values()) == len(BASE) - 1


def test_a_quantity_in_another_unit_is_the_same() -> None:
    assert not compared(BASE, {**BASE, ("description", "network[edge ↔ cloud].delay"): "0.02s"}).changed


def test_what_is_measured_may_differ_a_little() -> None:
    near = {("network", "measured delay edge → cloud"): 0.0203, ("load", "share of the machine that was busy"): 0.2}
    assert not compared(BASE, {**BASE, **near}).changed


def test_what_most_likely_matters_comes_first() -> None:
    other = {
        ("machine", "kernel"): "Linux 6.2", ("environment", "package rich"): "14", ("environment", "package numpy"): "2.3",
        ("files", "heat.py"): "sha256:0", ("description", "seed"): 8, ("network", "measured delay edge → cloud"): 0.05,
    }  # fmt: skip
    found = [one.name for one in compared(BASE, {**BASE, **other}).changed]
    assert found == ["seed", "heat.py", "package numpy", "package rich", "measured delay edge → cloud", "kernel"]


def test_what_one_side_did_not_record_is_no_difference_but_a_missing_package_is() -> None:
    old = {
        name: value for name, value in BASE.items() if name[0] not in ("network", "machine", "repository") and name != EVERY_PACKAGE
    }
    assert not compared(BASE, {name: value for name, value in old.items() if "rich" not in name[1]}).changed
    lacking = {name: value for name, value in BASE.items() if "rich" not in name[1]}
    assert [str(one) for one in compared(BASE, lacking).changed] == ["package rich: 15.0.0 → none"]


def test_parts_of_a_description_are_named_by_what_they_connect() -> None:
    rules = [{"between": ["edge", "fog"], "delay": "5ms"}, {"from": "fog", "to": "cloud", "delay": "9ms"}, {"delay": "1ms"}]
    assert dict(flat(rules, "network")) == {
        "network[edge ↔ fog].between": ["edge", "fog"], "network[edge ↔ fog].delay": "5ms",
        "network[fog → cloud].from": "fog", "network[fog → cloud].to": "cloud", "network[fog → cloud].delay": "9ms",
        "network[2].delay": "1ms",
    }  # fmt: skip
