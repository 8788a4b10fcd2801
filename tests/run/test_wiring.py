"""From a plan to launches: endpoints, groups, round trips."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.run.wiring import round_trips, wire
from estran.runtime.launch import Launch
from estran.spec import load_text
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

TEXT = """
experiment: wired
layers: {edge: {hosts: 2, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{from: edge, to: cloud, delay: 100ms, jitter: 5ms}, {from: cloud, to: edge, delay: 200ms}]
services:
  camera: {on: edge, component: source}
  trainer: {on: cloud, component: trainer, replicas: 2}
  shell: {on: cloud, command: [true], env: {A: b}}
streams: [{from: camera.samples, to: trainer.samples, routing: rotate}]
"""


@pytest.fixture
def plan() -> Plan:
    return make_plan(load_text(TEXT))


def launches(plan: Plan) -> dict[str, Launch]:
    addresses = {name: f"10.0.0.{index}" for index, name in enumerate(plan.hosts, 1)}
    made = wire(plan, lambda source, target: addresses[target], {"camera": "a:B", "trainer": "c:D"}, Path("/runs/x"), "x", 7)
    return {launch.replica: launch for launch in made}


def test_a_replicas_folder_is_the_same_wherever_it_is_looked_at_from(plan: Plan) -> None:
    (first, *_) = wire(plan, lambda source, target: "10.0.0.1", {"camera": "a:B", "trainer": "c:D"}, Path("runs/x"), "x", 7)
    assert first.folder == str(Path.cwd() / "runs" / "x" / "work" / first.replica)


def test_producers_connect_to_where_consumers_listen(plan: Plan) -> None:
    made = launches(plan)
    listening = {endpoint for launch in made.values() for endpoint in launch.listen}
    assert len(listening) == 2
    assert set(made["camera-0"].connect) == set(made["camera-1"].connect) == listening
    assert not made["camera-0"].listen


def test_channels_to_one_input_form_a_group_that_takes_turns(plan: Plan) -> None:
    outputs = launches(plan)["camera-0"].outputs
    assert {end.peer for end in outputs} == {"trainer-0", "trainer-1"}
    assert {(end.group, end.rotate) for end in outputs} == {("trainer.samples", True)}


def test_round_trips_add_both_ways_and_jitter(plan: Plan) -> None:
    trips = round_trips(plan)
    assert trips["camera-0"] == trips["trainer-1"] == pytest.approx(0.32)
    assert trips["shell-0"] == 0.1


def test_a_command_learns_the_addresses_of_all_hosts_and_its_own_environment(plan: Plan) -> None:
    shell = launches(plan)["shell-0"]
    assert shell.env["ESTRAN_ADDRESS_EDGE_1"] == "10.0.0.2"
    assert shell.env["ESTRAN_ADDRESS"] == "10.0.0.3"
    assert shell.env["A"] == "b"
    assert shell.command == ("true",)


def test_launches_survive_the_way_to_their_host(plan: Plan) -> None:
    for launch in launches(plan).values():
        assert Launch.read(launch.plain()) == launch
