from __future__ import annotations

import pytest

from estran.spec.catalogue import device_entries, devices, link_entries
from estran.spec.schema import BothWays, DeviceEntry, LinkEntry

FIGURES = ("cores", "speed", "memory", "idle_power", "busy_power")


@pytest.mark.parametrize("name", list(device_entries()))
def test_each_device_has_every_figure_with_its_source(name) -> None:
    entry = DeviceEntry.model_validate(device_entries()[name])
    assert all(getattr(entry, key) is not None for key in FIGURES)
    assert set(entry.sources) == set(FIGURES)
    device = devices()[name]
    assert 0 < device.idle_power <= device.busy_power
    assert 0.001 < device.speed < 10
    assert 1 <= device.cores <= 1024
    assert 2**20 <= device.memory <= 2**42


@pytest.mark.parametrize("name", list(link_entries()))
def test_each_link_has_every_figure_with_its_source(name) -> None:
    entry = LinkEntry.model_validate(link_entries()[name])
    assert set(entry.sources) == {"delay", "jitter", "rate", "loss"}
    assert entry.jitter <= entry.delay <= 1
    assert entry.loss <= 0.05
    rates = (entry.rate.up, entry.rate.down) if isinstance(entry.rate, BothWays) else (entry.rate,)
    assert all(100 <= rate <= 1e12 for rate in rates)


def test_sources_are_public_or_say_what_they_are() -> None:
    for table in (device_entries(), link_entries()):
        for entry in table.values():
            for source in entry["sources"].values():
                assert source["text"]
                assert source.get("url", "https://").startswith(("https://", "http://"))


def test_the_boards_of_the_design_are_there() -> None:
    assert {"raspberry-pi-4", "jetson-orin-nano", "cloud-vm-8", "laptop", "hpc-node"} <= set(devices())
    assert {"wifi-5", "4g", "5g", "lora-sf7", "satellite-leo", "satellite-geo", "adsl", "fibre-metro"} <= set(link_entries())
