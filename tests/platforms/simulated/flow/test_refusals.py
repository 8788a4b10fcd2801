"""What costs alone cannot say, and what would never end, is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, RequestError
from estran.platforms.simulated.flow.building import build
from estran.platforms.simulated.flow.stability import check
from estran.run.prepare import read_experiment
from tests.platforms.simulated.flow.experiments import FREE, document, relay, sink, source, write

STREAMS = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
HOSTS = {"edge": 4, "fog": 1}


def checked(folder: Path, described: dict[str, Any]) -> Any:
    experiment, index = read_experiment(write(folder, described))
    return check(build(experiment, index, None))


def passing(**changes: Any) -> dict[str, Any]:
    services = {"camera": source(20), "relay": relay("fog", time="10ms"), "end": sink("fog")} | changes
    return document(services, STREAMS, duration="10s", hosts=HOSTS)


def test_an_overloaded_service_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstranError, match=r"^unstable: utilisation 1\.6 at fog/relay") as error:
        checked(tmp_path, passing(relay=relay("fog", time="20ms")))
    assert error.value.exit_code == 1
    assert "replicas" in str(error.value.remedy)


def test_the_busiest_replica_counts_not_the_mean(tmp_path: Path) -> None:
    described = passing(relay=relay("fog", time="20ms") | {"replicas": 3})
    with pytest.raises(EstranError, match="unstable"):
        checked(tmp_path, described | {"layers": described["layers"] | {"edge": {"hosts": 7, "device": "unit"}}})


def test_an_overloaded_link_is_named(tmp_path: Path) -> None:
    network = [{"between": ["edge", "fog"], "rate": "50kbit"}]
    with pytest.raises(EstranError, match=r"unstable: utilisation .* at edge→fog \(camera\.samples\)"):
        checked(tmp_path, passing() | {"network": network})


def test_batches_bear_more(tmp_path: Path) -> None:
    cost = {"predict": {"time": "20ms", "each": "1ms"}, "learn": 0, "snapshot": 0, **FREE}
    streams = [{"from": "camera.samples", "to": "trainer.samples"}]
    for size, stable in ((1, False), (16, True)):
        trainer = {"on": "fog", "component": "trainer", "costs": cost, "with": {"batch": {"max_size": size}}}
        described = document({"camera": source(20), "trainer": trainer}, streams, duration="10s", hosts=HOSTS)
        if stable:
            assert checked(tmp_path, described)[0].utilisation == pytest.approx(80 * (0.02 / 16 + 0.001))
        else:
            with pytest.raises(EstranError, match="unstable"):
                checked(tmp_path, described)


def test_a_source_without_rate_is_refused(tmp_path: Path) -> None:
    endless = source(20)
    endless["with"] = {"data": "iris"}
    with pytest.raises(RequestError, match="camera: has no rate"):
        checked(tmp_path, passing(camera=endless))


def test_a_circle_without_delay_is_refused(tmp_path: Path) -> None:
    services = {"camera": source(1), "a": relay("fog"), "b": relay("fog")}
    streams = [
        {"from": "camera.samples", "to": "a.samples"},
        {"from": "a.forwarded", "to": "b.samples"},
        {"from": "b.forwarded", "to": "a.samples"},
    ]
    with pytest.raises(RequestError, match=r"circle without delay: (a → b → a|b → a → b)"):
        checked(tmp_path, document(services, streams, duration="10s", hosts=HOSTS))


def test_an_unknown_component_needs_one_cost(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"relay: what relay:Relay does with messages is not known"):
        checked(tmp_path, passing(relay={"on": "fog", "component": "relay:Relay"}))


def test_commands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="broker: commands are not simulated by costs alone"):
        checked(tmp_path, passing(broker={"on": "fog", "command": "mosquitto"}))


def test_a_window_that_holds_back_is_refused(tmp_path: Path) -> None:
    described = passing() | {"network": [{"between": ["edge", "fog"], "delay": "200ms"}]}
    described["streams"] = [STREAMS[0] | {"capacity": 2}, STREAMS[1]]
    with pytest.raises(RequestError, match="its window of 2 messages would hold the sender back"):
        checked(tmp_path, described)


@pytest.mark.parametrize(
    ("component", "settings", "what"),
    [
        ("trainer", {"publish": {"drift": "ddm"}}, "drift"),
        ("trainer", {"publish": {"gain": {}}}, "gain"),
        ("trainer", {"publish": {"every": "1s", "send": "delta"}}, "delta"),
        ("predictor", {"serving": "shadow"}, "serving"),
        ("predictor", {"shed": {"queue": 5}}, "shed"),
    ],
)
def test_policies_that_follow_from_answers_are_refused(component: str, settings: dict[str, Any], what: str, tmp_path: Path) -> None:
    services = {
        "camera": source(20),
        "trainer": {"on": "fog", "component": "trainer"},
        "other": {"on": "fog", "component": "predictor"},
    }
    services["trainer" if component == "trainer" else "other"]["with"] = settings
    streams = [
        {"from": "camera.samples", "to": ["trainer.samples", "other.samples"]},
        {"from": "trainer.models", "to": "other.models"},
    ]
    with pytest.raises(RequestError, match=f"what {what} comes to"):
        checked(tmp_path, document(services, streams, duration="10s", hosts=HOSTS))


def test_labels_that_come_late_are_refused(tmp_path: Path) -> None:
    services = {"camera": source(20), "trainer": {"on": "fog", "component": "trainer"}, "end": sink("fog")}
    streams = [{"from": "camera.labelled", "to": "trainer.samples"}, {"from": "camera.samples", "to": "end.messages"}]
    with pytest.raises(RequestError, match="streams of labelled"):
        checked(tmp_path, document(services, streams, duration="10s", hosts=HOSTS))
