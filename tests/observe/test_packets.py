"""Packets of real connections over loopback, through the kernel's filter and ring."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from estran.observe.exchanges import Exchange, Reassembler
from estran.observe.packets import FRAMES, Capture, port_filter


@pytest.fixture(autouse=True)
def _privileged() -> None:
    try:
        Capture().close()
    except PermissionError:
        pytest.skip("packet sockets need a privilege that is not here")


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers each request with as many bytes as the request says."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                end, _ = listener.accept()
            except OSError:
                return
            with end:
                while head := end.recv(8, socket.MSG_WAITALL):
                    end.sendall(bytes(int(head)))

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(port: int, *sizes: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as end:
        for size in sizes:
            end.sendall(b"%8d" % size)
            assert len(end.recv(size, socket.MSG_WAITALL)) == size


def seen(capture: Capture, port: int) -> list[Exchange]:
    """Exchanges with a port; other programs may use loopback too."""
    followed = Reassembler(lambda endpoint: endpoint[1] == port)
    time.sleep(0.05)
    ended, _ = followed.take(capture.read(time.monotonic()))
    return [exchange for exchange in [*ended, *followed.finish()] if exchange.server[1] == port]


def test_bytes_are_counted_once_however_they_are_bundled(port: int) -> None:
    capture = Capture()
    try:
        begun = time.monotonic()
        ask(port, 10, 3_000_000, 1)
        found = seen(capture, port)
    finally:
        capture.close()
    assert [(each.request_bytes, each.answer_bytes) for each in found] == [(8, 10), (8, 3_000_000), (8, 1)]
    for each in found:
        assert begun - 1e-3 < each.opened < each.request_first <= each.answer_first <= each.answer_last < time.monotonic()  # type: ignore[operator]


def test_ports_that_are_passed_over_are_not_seen(port: int) -> None:
    capture = Capture(passed_over=[port, 1, 2, 3])
    try:
        ask(port, 10)
        assert seen(capture, port) == []
    finally:
        capture.close()


def test_the_ring_goes_round_and_what_it_cannot_hold_is_counted(port: int) -> None:
    capture = Capture()
    try:
        for _ in range(3):  # 2000 packets with data each time
            ask(port, *[5] * 1000)
            assert [each.answer_bytes for each in seen(capture, port)] == [5] * 1000
        assert capture.lost == 0
        ask(port, *[5] * FRAMES)
        found = seen(capture, port)
        assert capture.lost > 0
        assert 0 < len(found) < FRAMES
        ask(port, 7)
        assert seen(capture, port)[-1].answer_bytes == 7
    finally:
        capture.close()


def test_the_filter_stays_short_for_many_ports() -> None:
    few, many = port_filter([7450]), port_filter(range(7450, 8450))
    assert len(few) == len(many)
