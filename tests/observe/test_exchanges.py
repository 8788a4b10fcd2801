"""Exchanges from packets: whatever the network does to packets, the same bytes were exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.observe.exchanges import SILENCE, Connection, Exchange, Reassembler
from estran.observe.packets import ACK, FIN, RST, SYN, Packet

CLIENT, SERVER = (0x0A000001, 40000), (0x0A000002, 8000)


def reassembler() -> Reassembler:
    return Reassembler(lambda endpoint: endpoint == SERVER)


@dataclass
class Talk:
    """Two ends of a connection that number what they send; a millisecond passes from packet to packet."""

    asked: int = 0
    answered: int = 0
    time: float = 0.0
    packets: list[Packet] = field(default_factory=list)

    def _send(self, flags: int, size: int, *, asking: bool) -> None:
        ahead, back = (self.asked, self.answered) if asking else (self.answered, self.asked)
        source, target = (CLIENT, SERVER) if asking else (SERVER, CLIENT)
        self.packets.append(Packet(self.time, *source, *target, ahead & 0xFFFFFFFF, back & 0xFFFFFFFF, flags, size))
        gone = size + bool(flags & (SYN | FIN))
        self.asked, self.answered = (ahead + gone, back) if asking else (back, ahead + gone)
        self.time = round(self.time + 0.001, 6)

    def open(self) -> Talk:
        self._send(SYN, 0, asking=True)
        self._send(SYN | ACK, 0, asking=False)
        return self

    def ask(self, *sizes: int) -> Talk:
        for size in sizes:
            self._send(ACK, size, asking=True)
        return self

    def answer(self, *sizes: int) -> Talk:
        for size in sizes:
            self._send(ACK, size, asking=False)
        return self

    def close(self, *, server_first: bool = False) -> Talk:
        self._send(FIN | ACK, 0, asking=not server_first)
        self._send(FIN | ACK, 0, asking=server_first)
        return self

    def pause(self, seconds: float) -> Talk:
        self.time = round(self.time + seconds, 6)
        return self

    def exchanges(self) -> list[Exchange]:
        """What comes of it, at the end of the capture."""
        followed = reassembler()
        ended, _ = followed.take(self.packets)
        return [*ended, *followed.finish()]


def sizes(exchanges: list[Exchange]) -> list[tuple[int, int]]:
    return [(exchange.request_bytes, exchange.answer_bytes) for exchange in exchanges]


def test_a_request_and_its_answer_with_their_times() -> None:
    (found,) = Talk().open().ask(100, 50).pause(0.01).answer(1448, 1448, 7).close().exchanges()
    assert found == Exchange(CLIENT, SERVER, 0, 0, 0.0, 150, 0.002, 0.003, 2903, 0.014, 0.016)


def test_exchanges_of_one_connection_are_numbered_and_connections_between_the_same_ends_too() -> None:
    talk = Talk().open().ask(10).answer(20).ask(11).answer(21).close().pause(0.5)
    talk.asked += 1_000_000
    found = talk.open().ask(12).answer(22).close().exchanges()
    assert [(each.connection, each.number, each.request_bytes, each.answer_bytes) for each in found] == [
        (0, 0, 10, 20), (0, 1, 11, 21), (1, 0, 12, 22),
    ]  # fmt: skip
    assert found[2].opened == pytest.approx(0.508)


def test_an_exchange_is_told_as_soon_as_the_next_begins_or_the_connection_is_closed() -> None:
    followed = reassembler()
    talk = Talk().open().ask(10).answer(20)
    assert followed.take(talk.packets)[0] == []
    assert sizes(followed.take(talk.ask(11).packets[4:])[0]) == [(10, 20)]
    assert sizes(followed.take(talk.answer(21).close().packets[5:])[0]) == [(11, 21)]
    assert followed.finish() == []


def test_a_request_without_an_answer() -> None:
    (found,) = Talk().open().ask(10, 10).close().exchanges()
    assert (found.request_bytes, found.answer_bytes, found.answer_first, found.answer_last) == (20, 0, None, None)


def test_a_reset_ends_the_exchange() -> None:
    talk = Talk().open().ask(10)
    talk._send(RST | ACK, 0, asking=False)
    followed = reassembler()
    assert sizes(followed.take(talk.packets)[0]) == [(10, 0)]


def test_what_a_server_sends_unasked_has_no_request() -> None:
    found = Talk().open().answer(5).ask(10).answer(20).exchanges()
    assert sizes(found) == [(0, 5), (10, 20)]
    assert found[0].request_first is None


def test_after_a_silence_what_the_server_sends_is_no_part_of_the_answer() -> None:
    followed = reassembler()
    talk = Talk().open().ask(10).answer(20)
    followed.take(talk.packets)
    assert followed.expire(talk.time + SILENCE / 2) == []
    assert sizes(followed.expire(talk.time + SILENCE * 1.01)) == [(10, 20)]
    followed.take(talk.pause(2 * SILENCE).answer(7).packets[4:])
    assert sizes(followed.finish()) == [(0, 7)]


def test_a_slow_answer_is_waited_for() -> None:
    followed = reassembler()
    talk = Talk().open().ask(10).pause(30 * SILENCE)
    followed.take(talk.packets)
    assert followed.expire(talk.time) == []


@pytest.mark.parametrize("server_speaks_first", [False, True])
def test_a_connection_that_was_open_before_the_capture(server_speaks_first: bool) -> None:
    talk = Talk(asked=77, answered=0xFFFFFFF0)
    talk = talk.answer(20) if server_speaks_first else talk
    found = talk.ask(10).answer(30).exchanges()
    assert sizes(found)[-1] == (10, 30)
    assert found[-1].client == CLIENT
    assert found[-1].opened is None


def test_sequence_numbers_wrap() -> None:
    found = Talk(asked=0xFFFFFFFF - 50, answered=0xFFFFFFFF - 2000).open().ask(40, 40).answer(1448, 1448).close().exchanges()
    assert sizes(found) == [(80, 2896)]


def test_bytes_that_the_capture_lost_are_known_from_acknowledgements() -> None:
    talk = Talk().open().ask(100, 1000, 30).answer(500, 600, 700).ask(9).answer(8).close()
    lost = [packet for index, packet in enumerate(talk.packets) if index not in (3, 6, 7)]
    followed = reassembler()
    ended, _ = followed.take(lost)
    assert sizes(ended) == [(1130, 1800), (9, 8)]


def test_a_keep_alive_counts_nothing() -> None:
    talk = Talk().open().ask(10).answer(20)
    probe = talk.packets[2]._replace(time=talk.time, sequence=(talk.asked - 1) & 0xFFFFFFFF, size=1)
    followed = reassembler()
    followed.take([*talk.packets, probe])
    assert sizes(followed.finish()) == [(10, 20)]


def test_closed_connections_are_forgotten_in_time_and_not_at_once() -> None:
    followed = reassembler()
    talk = Talk().open().ask(10).answer(20).close()
    followed.take(talk.packets)
    assert followed.take([talk.packets[3]._replace(time=1.0)]) == ([], [])
    followed.expire(1000.0)
    (left,) = followed.take([Talk().open().packets[0]])[1]
    assert isinstance(left, Connection)
    assert left.index == 1


bursts = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 200_000)), min_size=1, max_size=6)


@given(bursts=bursts, starts=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), data=st.data())
def test_splitting_shuffling_and_repeating_packets_changes_no_exchange(
    bursts: list[tuple[int, int]], starts: tuple[int, int], data: st.DataObject
) -> None:
    """Within a burst packets may overtake each other; repeats of older ones may come at any time."""
    talk = Talk(*starts).open()
    expected: list[tuple[int, int]] = []
    seen = list(talk.packets)
    for request, answer in bursts:
        for size, send in ((request, talk.ask), (answer, talk.answer)):
            if size:
                cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))})
                begun = len(talk.packets)
                send(*(high - low for low, high in pairwise(cuts)))
                part = data.draw(st.permutations(talk.packets[begun:]))
                again = data.draw(st.lists(st.sampled_from([*talk.packets[2:begun], *part]), max_size=3))
                tail = list(part)
                for packet in again:
                    tail.insert(data.draw(st.integers(0, len(tail))), packet)
                seen += [packet._replace(time=talk.time) for packet in tail]
        if expected and not expected[-1][1]:  # nothing was answered: the client went on with its request
            expected[-1] = (expected[-1][0] + request, answer)
        else:
            expected.append((request, answer))
    followed = reassembler()
    ended, opened = followed.take([*seen, *talk.close().packets[-2:]])
    assert sizes(ended) == expected
    assert [exchange.number for exchange in ended] == list(range(len(expected)))
    assert len(opened) == 1
