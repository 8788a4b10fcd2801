"""Models from observations: what was replayed from a model is described as that model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.observe.observed_commands import observed_models, stretched
from estran.observe.pacing import pacing, waits
from estran.observe.queries import Run, open_run
from estran.observe.rows import EventRow, ExchangeRow
from estran.observe.sightings import Exchanges
from estran.observe.store import LIVE, Store
from estran.spec.costs import Amount, Call, CommandModel, Cost, Serving, Spread
from tests.platforms.simulated.fake_world import World, play

EXPONENTIAL, WARMUP = Spread("exponential"), 1.0


def folder(
    where: Path,
    rows: Sequence[ExchangeRow],
    worlds: Mapping[str, World],
    seconds: float,
    *,
    speed: float = 1.0,
    events: Sequence[EventRow] = (),
) -> Run:
    """A run folder as an emulated run leaves it."""
    where.mkdir(parents=True, exist_ok=True)
    planned = {name: world.replica for name, world in worlds.items()}
    plan = {
        "hosts": [{"name": replica.host, "device": {"cores": 1, "speed": speed}} for replica in planned.values()],
        "replicas": [
            {"name": name, "service": replica.service.name, "host": replica.host, "command": ["x"]}
            for name, replica in planned.items()
        ],
    }
    run = {"schema": 1, "id": "r1", "experiment": "e", "status": "done", "warmup": WARMUP, "duration": seconds - WARMUP}
    (where / "run.json").write_text(json.dumps(run))
    (where / "plan.json").write_text(json.dumps(plan))
    with Store(where / LIVE) as store:
        store.add("exchanges", rows)
        store.add("events", list(events))
        store.add("metrics", [row for world in worlds.values() for row in world.readings])
        store.compact(where)
    return open_run(where)


def observed(where: Path, models: Mapping[str, CommandModel], seconds: float = 60.0) -> dict[str, CommandModel]:
    return observed_models(folder(where, *play(models, seconds), seconds))


def pipeline(client: Call, count: float = 1.0, wait: float = 0.0) -> dict[str, CommandModel]:
    inner = (Call("worker", Amount(800), Cost(), count=count),) if count else ()
    models = {
        "client": CommandModel(calls=(client,)),
        "gateway": CommandModel(Serving(Cost(0.002), Amount(100), inner, Cost(wait)), idle=0.01),
        "worker": CommandModel(Serving(Cost(0.006, spread=EXPONENTIAL), Amount(2000, Spread("lognormal", 0.5)))),
    }
    return models if count else {name: models[name] for name in ("client", "gateway")}


def closed(pause: float = 0.1) -> Call:
    return Call("gateway", Amount(3000, Spread("lognormal", 0.7)), Cost(pause, spread=EXPONENTIAL), cost=Cost(0.004))


def test_a_pipeline_is_described_as_it_was_declared(tmp_path: Path) -> None:
    found = observed(tmp_path, pipeline(closed(), count=0.6), 120.0)
    client, gateway, worker = found["client"], found["gateway"], found["worker"]
    assert (client.serves, gateway.calls, worker.calls) == (None, (), ())
    (call,) = client.calls
    assert (call.to, call.waits, call.connects) == ("gateway", True, 0.0)
    assert call.pause.time == pytest.approx(0.1, rel=0.1)
    assert call.cost.time == pytest.approx(0.004, rel=0.05)
    assert call.size.bytes == pytest.approx(3000, rel=0.1)
    assert call.pause.spread.factor(0.5) == pytest.approx(np.log(2), rel=0.15)
    assert gateway.serves is not None
    assert gateway.serves.cost.time == pytest.approx(0.002, rel=0.05)
    assert gateway.idle == pytest.approx(0.01, rel=0.1)
    (inner,) = gateway.serves.calls
    assert (inner.to, inner.waits) == ("worker", True)
    assert inner.count == pytest.approx(0.6, abs=0.06)
    assert inner.size.bytes == pytest.approx(800)
    assert worker.serves is not None
    assert worker.serves.cost.time == pytest.approx(0.006, rel=0.12)
    assert worker.serves.cost.spread.factor(0.9) == pytest.approx(np.log(10), rel=0.2)
    assert worker.serves.wait.mean() < 0.0005
    assert worker.serves.answer.bytes == pytest.approx(2000, rel=0.1)
    assert all(model.source.startswith("observed in run r1") for model in found.values())


def test_a_model_that_was_observed_gives_the_latencies_that_it_was_observed_from(tmp_path: Path) -> None:
    """Also at another load than that of the observation."""

    def latency(models: Mapping[str, CommandModel]) -> float:
        rows, _ = play(models, 120.0, seed=5)
        found = [
            r.answer_last - r.request_first for r in rows if r.side == "client" and r.peer == "host-gateway-0" and r.answer_last
        ]
        return float(np.mean(found))

    found = observed(tmp_path, pipeline(closed()), 120.0)
    assert latency(found) == pytest.approx(latency(pipeline(closed())), rel=0.05)
    busier = dict(found) | {"client": CommandModel(calls=(closed(0.01),))}
    assert latency(busier) == pytest.approx(latency(pipeline(closed(0.01))), rel=0.05)


@pytest.mark.parametrize("spread", [Spread(), EXPONENTIAL], ids=["periodic", "poisson"])
def test_an_open_client_is_told_from_a_closed_one(tmp_path: Path, spread: Spread) -> None:
    call = Call("gateway", Amount(3000), Cost(0.03, spread=spread), waits=False)
    (found,) = observed(tmp_path, pipeline(call, count=0.0))["client"].calls
    assert not found.waits
    assert found.pause.time == pytest.approx(0.03, rel=0.05)
    assert found.pause.spread.factor(0.5) == pytest.approx(spread.factor(0.5), rel=0.1)


def test_several_loops_of_one_client_are_counted(tmp_path: Path) -> None:
    models = pipeline(closed(), count=0.0)
    models["client"] = CommandModel(calls=(closed(), closed(), closed()))
    found = observed(tmp_path, models)["client"].calls
    assert len(found) == 3
    assert found[0].pause.time == pytest.approx(0.1, rel=0.1)


def test_calls_that_go_on_together_are_recognised(tmp_path: Path) -> None:
    models = pipeline(closed())
    together = (Call("worker", Amount(800), Cost(), waits=False), Call("worker", Amount(800), Cost(), waits=False))
    models["gateway"] = CommandModel(Serving(Cost(0.002), Amount(100), together))
    serving = observed(tmp_path, models)["gateway"].serves
    assert serving is not None
    assert [(call.waits, call.count) for call in serving.calls] == [(False, pytest.approx(2.0, abs=0.02))]


def test_waiting_is_told_from_computing(tmp_path: Path) -> None:
    serving = observed(tmp_path, pipeline(closed(), count=0.0, wait=0.03))["gateway"].serves
    assert serving is not None
    assert serving.cost.time == pytest.approx(0.002, rel=0.05)
    assert serving.wait.time == pytest.approx(0.03, rel=0.05)


def test_new_connections_are_counted(tmp_path: Path) -> None:
    call = Call("gateway", Amount(3000), Cost(0.1, spread=EXPONENTIAL), connects=1.0)
    (found,) = observed(tmp_path, pipeline(call, count=0.0))["client"].calls
    assert found.connects == 1.0
    assert found.waits
    assert found.pause.time == pytest.approx(0.1, rel=0.1)


def test_the_same_run_gives_the_same_models(tmp_path: Path) -> None:
    rows, worlds = play(pipeline(closed()), 20.0)
    first = observed_models(folder(tmp_path / "a", rows, worlds, 20.0))
    assert observed_models(folder(tmp_path / "b", rows, worlds, 20.0)) == first


def test_too_few_exchanges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"only \d+ exchanges of client were observed, and 20 are needed"):
        observed(tmp_path, pipeline(closed(2.0)), 15.0)


def test_services_with_a_declared_model_need_not_be_observed(tmp_path: Path) -> None:
    run = folder(tmp_path, *play(pipeline(closed(), count=0.0) | {"quiet": CommandModel()}, 30.0), 30.0)
    with pytest.raises(RequestError, match="only 0 exchanges of quiet"):
        observed_models(run)
    (tmp_path / "experiment.yaml").write_text("services: {client: {}, gateway: {}, quiet: {model: {serves: {answer: 1kB}}}}")
    assert set(observed_models(run)) == {"client", "gateway"}


def test_an_open_client_with_a_pool_of_connections_is_told_from_loops_whatever_the_pool_does() -> None:
    rng = np.random.default_rng(2)
    begun = np.cumsum(rng.exponential(0.02, 3000))
    last = begun + 0.03 + rng.exponential(0.02, 3000)
    free: dict[int, float] = {}
    lanes = []
    for begin, end in zip(begun, last, strict=True):
        idle = [lane for lane, since in free.items() if since <= begin]
        lanes.append(int(rng.choice(idle)) if idle else len(free))
        free[lanes[-1]] = end
    nothing = np.zeros(3000, dtype=np.int64)
    names = np.array([str(lane) for lane in lanes], dtype=object)
    client = Exchanges(names, names, nothing + 1, np.full(3000, np.nan), begun, begun, last, last, nothing, nothing)
    assert not pacing([client], float(begun[-1])).waits


def test_a_run_without_exchanges_says_why(tmp_path: Path) -> None:
    _, worlds = play(pipeline(closed()), 3.0)
    why = EventRow(0.0, "host-client-0", "", "unobserved", "all hosts share one network")
    with pytest.raises(RequestError, match="all hosts share one network"):
        observed_models(folder(tmp_path, [], worlds, 3.0, events=[why]))


def test_sides_that_disagree_are_refused(tmp_path: Path) -> None:
    """A client that does not wait for answers sees one long exchange where the server sees several."""
    rows, worlds = play(pipeline(closed(), count=0.0), 30.0)
    merged = [row for row in rows if row.side == "server" or row.number % 2]
    with pytest.raises(RequestError, match="before the last one is answered"):
        observed_models(folder(tmp_path, merged, worlds, 30.0))


def test_requests_to_strangers_are_refused(tmp_path: Path) -> None:
    rows, worlds = play(pipeline(closed()), 30.0)
    strange = [row._replace(peer="192.0.2.1") if row.side == "client" and row.peer == "host-worker-0" else row for row in rows]
    with pytest.raises(RequestError, match=r"went to 192\.0\.2\.1:8000, where no command service"):
        observed_models(folder(tmp_path, strange, worlds, 30.0))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), closed=st.booleans(), ratio=st.floats(0.2, 3.0))
def test_the_pace_of_clients_with_random_pauses_is_recognised(seed: int, closed: bool, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    latencies = 0.02 + rng.exponential(0.02, 400)
    pauses = rng.exponential(0.04 * ratio, 400)
    assert waits(latencies + pauses if closed else pauses, latencies) == closed


@pytest.mark.parametrize("closed", [True, False])
def test_the_pace_of_clients_with_even_pauses_is_recognised(closed: bool) -> None:
    latencies = 0.02 + np.random.default_rng(1).exponential(0.002, 100)
    assert waits(0.1 + latencies if closed else np.full(100, 0.1), latencies) == closed


@given(cost=st.floats(1e-5, 0.2), speed=st.floats(0.02, 0.999))
def test_work_on_a_slow_core_takes_between_its_cost_and_what_the_share_makes_of_it(cost: float, speed: float) -> None:
    took = stretched(cost, speed)
    period = 5e-3 / speed
    assert took.min() >= cost * (1 - 1e-9)
    assert took.max() <= cost / speed + 2 * period


def test_short_work_on_a_slow_core_mostly_takes_no_longer_and_long_work_its_share() -> None:
    assert np.median(stretched(0.001, 0.35)) == pytest.approx(0.001)
    assert stretched(1.0, 0.35).mean() == pytest.approx(1 / 0.35, rel=0.01)
    assert stretched(0.3, 1.0).tolist() == [0.3]
