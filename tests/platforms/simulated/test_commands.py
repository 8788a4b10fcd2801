"""Commands replayed from models, in a world where everything can be calculated."""

from __future__ import annotations

import numpy as np
import pytest

from estran.errors import ServiceError
from estran.runtime.rows import ExchangeRow
from estran.spec.costs import Amount, Call, CommandModel, Cost, Serving, Spread
from tests.platforms.simulated.fake_world import DELAY, play

EXPONENTIAL = Spread("exponential")


def client(to: str, pause: float, spread: Spread | None = None, *, waits: bool = True, connects: float = 0.0) -> CommandModel:
    return CommandModel(calls=(Call(to, Amount(1000), Cost(pause, spread=spread or Spread()), waits, connects=connects),))


def server(seconds: float, spread: Spread | None = None, calls: tuple[Call, ...] = (), wait: float = 0.0) -> CommandModel:
    return CommandModel(Serving(Cost(seconds, spread=spread or Spread()), Amount(200), calls, Cost(wait)))


def latencies(rows: list[ExchangeRow], service: str) -> list[float]:
    mine = [row for row in rows if row.side == "client" and row.replica.startswith(service) and row.answer_last is not None]
    return [row.answer_last - row.request_first for row in mine]  # type: ignore[operator]


def test_a_closed_loop_takes_the_way_there_and_back_the_service_and_the_pause() -> None:
    rows, worlds = play({"a": client("b", 0.1), "b": server(0.005, wait=0.002)}, 10.0)
    found = latencies(rows, "a")
    assert found == pytest.approx([2 * DELAY + 0.007] * len(found))
    assert len(found) == pytest.approx(10 / (0.1 + 2 * DELAY + 0.007), abs=1)
    assert worlds["b-0"].used == pytest.approx(0.005 * len(found), abs=0.006)


def test_both_sides_record_the_same_exchanges() -> None:
    rows, _ = play({"a": client("b", 0.1), "b": server(0.005)}, 3.0)
    asked, served = ([row for row in rows if row.side == side] for side in ("client", "server"))
    matched = {(row.connection, row.number): row for row in served}
    whole = [row for row in asked if row.answer_last is not None]
    assert len(whole) > 20
    for row in whole:
        other = matched[row.connection, row.number]
        assert (other.request_bytes, other.answer_bytes) == (row.request_bytes, row.answer_bytes) == (1000, 200)
        assert row.request_first < other.request_first < other.answer_last < row.answer_last  # type: ignore[operator]
        assert (row.peer, other.peer, row.port) == ("host-b-0", "host-a-0", 8000)
    assert {row.connection for row in asked} == {"a-0#0>b-0"}
    assert [row.number for row in asked] == list(range(len(asked)))


def test_an_open_loop_does_not_wait_and_requests_queue_at_the_processor() -> None:
    """M/D/1 at a load of 0.6: the mean wait is 0.75 service times (Pollaczek and Khinchine)."""
    service = 0.006
    rows, _ = play({"a": client("b", 0.01, EXPONENTIAL, waits=False), "b": server(service)}, 250.0)
    found = np.array(latencies(rows, "a")) - 2 * DELAY - service
    assert len(found) == pytest.approx(25_000, rel=0.03)
    assert found.mean() == pytest.approx(0.75 * service, rel=0.08)


def test_calls_made_while_serving_delay_the_answer_and_fractions_of_them_happen_so_often() -> None:
    calls = (Call("c", Amount(300), Cost(), count=1.5),)
    rows, worlds = play({"a": client("b", 0.05), "b": server(0.004, calls=calls), "c": server(0.003)}, 100.0)
    assert len(latencies(rows, "b")) / len(latencies(rows, "a")) == pytest.approx(1.5, abs=0.06)
    once = 2 * DELAY + 0.003
    assert sorted({round(value, 6) for value in latencies(rows, "a")}) == pytest.approx(
        [2 * DELAY + 0.004 + once, 2 * DELAY + 0.004 + 2 * once], abs=2e-6
    )
    assert worlds["b-0"].used / len(latencies(rows, "a")) == pytest.approx(0.004, rel=0.01)


def test_calls_that_do_not_wait_for_each_other_go_on_together() -> None:
    calls = (Call("c", Amount(300), Cost(), waits=False), Call("d", Amount(300), Cost(), waits=False))
    rows, _ = play({"a": client("b", 0.05), "b": server(0.003, calls=calls), "c": server(0.03), "d": server(0.02)}, 5.0)
    found = latencies(rows, "a")
    # c is asked after 1 ms and takes longest; the last millisecond of b's own work comes meanwhile, the answer after that.
    assert found == pytest.approx([2 * DELAY + 0.001 + 2 * DELAY + 0.03 + 0.001] * len(found))


def test_opening_a_connection_takes_a_round_trip_before_the_request() -> None:
    rows, _ = play({"a": client("b", 0.1, connects=1.0), "b": server(0.005)}, 5.0)
    asked = [row for row in rows if row.side == "client"]
    assert len({row.connection for row in asked}) == len(asked) == pytest.approx(5 / (0.1 + 4 * DELAY + 0.005), abs=1)
    assert all(row.request_first - row.opened == pytest.approx(2 * DELAY) for row in asked)  # type: ignore[operator]


def test_idle_processor_time_is_used_and_delays_requests_little() -> None:
    _, worlds = play({"a": client("b", 0.1), "b": CommandModel(Serving(Cost(0.001), Amount(1)), idle=0.2)}, 20.0)
    assert worlds["b-0"].used == pytest.approx(0.2 * 20 + 0.001 * 20 / 0.121, rel=0.02)


def test_replicas_share_the_clients() -> None:
    rows, _ = play({"a": client("b", 0.1), "b": server(0.001)}, 2.0, copies={"a": 4, "b": 2})
    asked = {(row.replica, row.peer) for row in rows if row.side == "client"}
    assert asked == {("a-0", "host-b-0"), ("a-1", "host-b-1"), ("a-2", "host-b-0"), ("a-3", "host-b-1")}


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    models = {"a": client("b", 0.02, EXPONENTIAL), "b": server(0.005, EXPONENTIAL)}
    first, _ = play(models, 5.0, seed=3)
    assert play(models, 5.0, seed=3)[0] == first
    assert play(models, 5.0, seed=4)[0] != first


def test_a_request_that_is_under_way_at_the_end_is_recorded_without_an_answer() -> None:
    rows, _ = play({"a": client("b", 0.0), "b": server(10.0)}, 5.0)
    (row,) = rows
    assert (row.side, row.request_bytes, row.answer_bytes, row.answer_last) == ("client", 1000, 0, None)


def test_asking_a_service_that_answers_nothing_is_an_error_that_names_both() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        play({"a": client("b", 0.1), "b": CommandModel(calls=())}, 2.0)
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]  # type: ignore[assignment]
    assert isinstance(error, ServiceError)
    assert "a-0" in str(error)
    assert "asks b" in str(error)
