"""Trying an engine for real: in a forked child, inside a network namespace that vanishes with it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from estran.errors import EstranError
from estran.platforms.emulated.links.engine import Trial
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.netlink import Netlink, link_up

_SECONDS = 2.0
_LOOPBACK_INDEX = 1
FORWARDING = {"ipv4/ip_forward": "1"}


def trial(attempt: Callable[[], str], limits: Mapping[str, str], remedy: str) -> Trial:
    """Run an attempt in a throw-away namespace whose loopback interface is up.

    Parameters
    ----------
    attempt
        Returns what it saw, or raises `OSError` or `EstranError`; runs in a child process.
    limits
        Of the engine, if it works.
    remedy
        What to do if the kernel refuses and the error itself does not say.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(int(_SECONDS) + 1)
            os.write(writing, json.dumps(_attempt(attempt, remedy)).encode()[:4096])
        finally:
            os._exit(0)
    os.close(writing)
    try:
        works, why = json.loads(read(reading, seconds=_SECONDS) or b'[false, "the trial\'s process died"]')
    except TimeoutError:
        works, why = False, f"the trial gave no answer in {_SECONDS:g} s"
    finally:
        os.close(reading)
        _reap(pid)
    return Trial(works, why, dict(limits) if works else {})


def trial_here(attempt: Callable[[], str], limits: Mapping[str, str], remedy: str) -> Trial:
    """Run an attempt that changes nothing in this very process."""
    try:
        return Trial(True, attempt(), dict(limits))
    except OSError as error:
        return Trial(False, f"{error.strerror or error}; {remedy}")


def _attempt(attempt: Callable[[], str], remedy: str) -> tuple[bool, str]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        namespace.acquire_privilege()
        namespace.create()
        namespace.set_sysctls(FORWARDING)  # where this is forbidden, no fabric can be built for the engine
        with Netlink() as netlink:
            netlink.send([link_up(_LOOPBACK_INDEX)])
        return True, attempt()
    except EstranError as error:
        return False, f"{error.what}; {error.remedy or remedy}"
    except OSError as error:
        return False, f"{error.strerror or error}; {remedy}"
    except Exception as error:  # noqa: BLE001 - the fork's boundary: a trial raises nothing
        return False, f"{type(error).__name__}: {error}"


def read(descriptor: int, most: int = 4096, seconds: float = 0.2) -> bytes:
    """Read once something is there.

    Raises
    ------
    TimeoutError
        If nothing comes.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(seconds * 1000):
        raise TimeoutError("nothing came back")
    return os.read(descriptor, most)


def _reap(pid: int) -> None:
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@contextmanager
def datagrams(address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender connected to a receiver at an address of the present namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind((address, 0))
        receiver.settimeout(0.2)
        sender.connect(receiver.getsockname())
        yield sender, receiver
