"""Reading `network.yaml`: rules of the network, with quantities as ``tc``, to which E2Clab hands them, would read them."""

from __future__ import annotations

from collections.abc import Mapping

from estran.spec.e2clab.blocks import block, entries, known_keys, selectors, where
from estran.spec.e2clab.model import NetworkRule, Note
from estran.spec.e2clab.page import Page, refuse
from estran.spec.e2clab.schema import NetworkEntry, in_bytes
from estran.spec.model import LinkSpec
from estran.units import show


def read_network(page: Page) -> tuple[list[NetworkRule], list[Note]]:
    """Read the file, and what is to be noted of it; what is wrong goes to the page's complaints."""
    if page.data is None:
        return [], []
    if not isinstance(page.data, Mapping):
        refuse(page, "the file must be a map with networks:", "write networks: and below it a list of rules, or networks: null")
        return [], []
    known_keys(page, page.data, ("networks",))
    if "networks" not in page.data and not page.complaints.errors:
        page.complaints.add((), "the key 'networks' is missing", "add networks:, and below it a list of rules")
    rules: list[NetworkRule] = []
    notes: list[Note] = []
    for path, value in entries(page, page.data.get("networks"), ("networks",), of="rule"):
        selectors(page, value, path, ("src", "dst"))
        entry = block(page, value, NetworkEntry, path)
        if entry is None:
            continue
        if not {"delay", "rate", "loss"} & set(value):
            page.complaints.add(path, "says nothing about the link", "add delay:, rate: or loss:")
            continue
        delay, jitter = entry.delay
        link = LinkSpec(delay=delay, jitter=jitter, rate=entry.rate, loss=entry.loss)
        rules.append(NetworkRule(entry.src, entry.dst, link, entry.symmetric, where(page, path)))
        if entry.rate is not None and in_bytes(value["rate"]):
            what = f"{value['rate']} counts bytes, as tc reads it: {show(entry.rate, 'rate')}; in mbit it leaves no doubt"
            notes.append(Note(where(page, (*path, "rate")), what))
        if isinstance(value.get("loss"), int | float) and entry.loss:
            what = f"a loss of {value['loss']} is {show(entry.loss, 'fraction')}, as tc reads it"
            notes.append(Note(where(page, (*path, "loss")), what))
    return rules, notes
