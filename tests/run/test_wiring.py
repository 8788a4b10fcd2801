"""From a plan to launches: endpoints, groups, round trips."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.run.wiring import Access, round_trips, routed_channels, router_task, wire
from estran.runtime.launch import Launch, Security
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


REACHING = """
experiment: behind
layers: {edge: {hosts: 2, device: raspberry-pi-4}, fog: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: edge, component: source}
  detector: {on: edge, component: predictor, ports: [7447]}
  trainer: {on: fog, component: trainer}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples], routing: all}
  - {from: trainer.models, to: detector.models, routing: all}
"""


def test_who_cannot_be_dialled_dials_and_gets_the_rest_through_the_router() -> None:
    plan = make_plan(load_text(REACHING))
    security = {name: Security("a", f"{name}.pem", "k") for name in plan.hosts}
    access = Access(behind=["edge-0", "edge-1"], router="fog-0", security=security)
    components = dict.fromkeys(("camera", "detector", "trainer"), "a:B")
    made = {launch.replica: launch for launch in wire(plan, lambda near, far: f"at-{far}", components, Path("/r"), "x", 7, access)}
    camera, detector, trainer = (made[name] for name in ("camera-0", "detector-0", "trainer-0"))
    router = "tls/at-fog-0:7448"  # a service has 7447
    assert {launch.router for launch in (camera, detector, trainer)} == {router}
    assert set(camera.connect) == {*detector.listen, *trainer.listen}  # on its own host, and where it can dial
    assert {end.peer for end in camera.outputs if end.routed} == {"detector-1"}
    assert trainer.connect == ()
    assert {end.peer for end in trainer.outputs if end.routed} == {"detector-0", "detector-1"}
    assert not any(end.routed for end in trainer.inputs)
    assert detector.security == security["edge-0"]
    task = router_task(plan, lambda near, far: f"at-{far}", access)
    assert task is not None
    assert task[1]["listen"] == [router]
    assert task[1]["security"]["certificate"] == "fog-0.pem"


def test_who_is_dialled_by_a_translated_address_listens_on_all_of_its_own() -> None:
    plan = make_plan(load_text(REACHING))
    access = Access(["edge-0", "edge-1"], "fog-0", translated=["fog-0", "edge-0"])
    components = dict.fromkeys(("camera", "detector", "trainer"), "a:B")
    made = {launch.replica: launch for launch in wire(plan, lambda near, far: f"at-{far}", components, Path("/r"), "x", 7, access)}
    port = made["trainer-0"].listen[0].rpartition(":")[2]
    assert made["trainer-0"].listen == (f"tcp/0.0.0.0:{port}",)
    assert f"tcp/at-fog-0:{port}" in made["camera-1"].connect
    assert any(endpoint.startswith("tcp/127.0.0.1:") for endpoint in made["camera-0"].connect)
    assert made["trainer-0"].router == "tcp/127.0.0.1:7448"
    task = router_task(plan, lambda near, far: f"at-{far}", access)
    assert task is not None
    assert task[1]["listen"] == ["tcp/0.0.0.0:7448"]


def test_without_a_gateway_what_cannot_be_dialled_is_refused() -> None:
    plan = make_plan(load_text(REACHING))
    with pytest.raises(PlatformError, match=r"cannot dial .* for the channel .*") as error:
        routed_channels(plan, Access(behind=["edge-1"]))
    assert "gateway" in str(error.value)


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
