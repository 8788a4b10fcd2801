"""Selectors find what Ansible's own inventory finds, whatever is in either."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.spec.e2clab.patterns import PatternError, inventory, select

manager = pytest.importorskip("ansible.inventory.manager", reason="the oracle is ansible-core: pip install 'estran[ansible]'")
loader = pytest.importorskip("ansible.parsing.dataloader")
errors = pytest.importorskip("ansible.errors")

LAYERS, SERVICES = st.sampled_from(["cloud", "edge"]), st.sampled_from(["a", "b"])
KEY = st.builds("{}.{}.{}.{}".format, LAYERS, SERVICES, st.integers(1, 2), st.integers(1, 3))
KEYS = st.lists(KEY, min_size=1, max_size=10, unique=True)
NAMES = [
    "cloud",
    "edge",
    "edge.a",
    "edge.b.1",
    "*",
    "all",
    "cloud.*",
    "*.1",
    "edge.?.2.*",
    "~edge.*1$",
    "e[d]ge.*",
    "odd",
    "edge.a.1.1",
]
ORDERED = ("cloud", "edge", "edge.a", "edge.b.1", "odd")
"""Groups, in which Ansible keeps the order of the machines; what a glob finds it may have in another."""
PLACES = ["", "", "", "[0]", "[-1]", "[1]", "[0:1]", "[1:]"]
PARTS = st.tuples(st.sampled_from(["", "", "&", "!"]), st.sampled_from(NAMES), st.sampled_from(PLACES))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(KEYS, st.lists(PARTS, min_size=1, max_size=3), st.sampled_from([":", ","]))
def test_the_same_machines(keys: list[str], parts: list[tuple[str, str, str]], separator: str) -> None:
    pattern = separator.join(f"{sign}{name}{place if name in ORDERED else ''}" for sign, name, place in parts)
    among = inventory((key, ["odd"] if key.endswith("1") else []) for key in keys)
    try:
        ours = set(select(pattern, among))
    except PatternError:
        return  # Ansible goes on with what the other parts find, and warns; here that is an error
    theirs = manager.InventoryManager(loader=loader.DataLoader(), sources=[])
    for group, members in among.groups.items():
        theirs.add_group(group)
        for key in members:
            theirs.add_host(key, group=group)
    theirs.reconcile_inventory()
    assert ours == {host.name for host in theirs.get_hosts(pattern)}
