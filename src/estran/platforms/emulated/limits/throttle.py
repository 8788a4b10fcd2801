"""CPU and memory limits without cgroups and without privilege: a process stops and continues the services.

The share over a second is exact to a fraction of a percent, but enforced in slices of 2 ms; memory is looked at every
20 ms, so a service can exceed its limit for that long.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.emulated.limits import throttler
from estran.platforms.emulated.limits.limiter import HostGroup, Usage, grant, watched
from estran.platforms.emulated.limits.shares import burner
from estran.platforms.emulated.limits.throttler import CPU, KILLS, MEMORY, PEAK, READ, SLOTS, STOPPED, TABLE_BYTES, WRITTEN, Table
from estran.platforms.emulated.links.engine import Trial

PATIENCE: Final = 5.0
ENDED: Final = "the process that holds services to their CPU share ended"
VOID: Final = "services run unlimited now, so the run's figures are void: run it again"
LIMITS: Final = {
    "cpu": "shares are enforced in slices of 2 ms by stopping processes; a parent that asks waitpid for stops sees them",
    "memory": "looked at every 20 ms: a service can exceed its limit for that long before it is killed",
    "io": "block input and output of processes that live less than 0.2 s are not accounted",
}


class ThrottledService:
    """A service's processes, in the throttler's books."""

    def __init__(self, host: ThrottledHost, name: str, cpu: float, yields: bool) -> None:
        self.name = name
        self.asked = cpu
        self.cpu = min(cpu, host.cpu)
        self.memory = host.memory
        self._host = host
        self._throttle = host.throttle
        self._slot = self._throttle.slot()
        self._throttle.order(do="service", slot=self._slot, host=host.slot, share=self.cpu, yields=yields)

    def attach(self, pid: int) -> None:
        """Put a process under the limits; waits until the throttler has it.

        Raises
        ------
        PlatformError
            If the process or the throttler has ended.
        """
        if self._throttle.ask(do="attach", slot=self._slot, pid=pid) != b"done":
            raise PlatformError(f"process {pid} could not be put below its limits: it has ended", where=self.name)

    def usage(self) -> Usage:
        return self._throttle.usage(self._slot)

    def oom_kills(self) -> int:
        return int(self._throttle.figure(self._slot, KILLS))

    def freeze(self, on: bool) -> None:
        """Stop its processes, or let them go on; waits until the throttler has done it."""
        self._throttle.ask(do="freeze", slot=self._slot, on=on)

    def pace(self, speed: float) -> None:
        """Give it this part of its share."""
        self._throttle.order(do="pace", slot=self._slot, share=self.cpu * speed)

    def remove(self) -> None:
        self._host.forget(self)
        self._throttle.order(do="remove", slot=self._slot)


class ThrottledHost:
    """A device's services, in the throttler's books."""

    def __init__(self, throttle: Throttle, name: str, cpu: float, memory: int | None) -> None:
        self.throttle = throttle
        self.name = name
        self.asked = cpu
        self.cpu, self.notes = grant(name, cpu)
        self.memory = memory
        self.folders: tuple[Path, ...] = ()
        self.slot = throttle.slot()
        self._services: list[ThrottledService] = []
        throttle.order(do="host", slot=self.slot, share=self.cpu, memory=memory)

    def service(self, name: str, cpu: float, *, yields: bool = False) -> ThrottledService:
        grant(f"{self.name}/{name}", cpu)
        service = ThrottledService(self, name, cpu, yields)
        self._services.append(service)
        return service

    def lift(self) -> None:
        self.throttle.order(do="cap", slot=self.slot, on=False)

    def enforce(self) -> None:
        self.throttle.order(do="cap", slot=self.slot, on=True)

    def pace(self, speed: float) -> None:
        grant(self.name, min([self.cpu, *(service.cpu for service in self._services)]) * speed)
        self.throttle.order(do="pace", slot=self.slot, share=self.cpu * speed)
        for service in self._services:
            service.pace(speed)

    def usage(self) -> Usage:
        return self.throttle.usage(self.slot)

    def oom_kills(self) -> int:
        return int(self.throttle.figure(self.slot, KILLS))

    def forget(self, service: ThrottledService) -> None:
        """One that is removed has no share any more."""
        if service in self._services:
            self._services.remove(service)

    def remove(self) -> None:
        for service in list(self._services):
            service.remove()


class Throttle:
    """The limiter over the throttling process, which is started when first needed. See `limits.Limiter`."""

    name = "throttle"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._table: Table | None = None
        self._slots = 0
        self._owner = os.getpid()
        self._hosts: list[ThrottledHost] = []

    def __enter__(self) -> Throttle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The throttler's guard, or None before the first host."""
        return self._process.pid if self._process else None

    def trial(self) -> Trial:
        throttle = Throttle()
        try:
            with throttle, burner() as pid:
                service = throttle.host("trial", 0.2, None).service("trial", 0.2)
                service.attach(pid)
                used, passed = watched(service, 0.06)
                held = service.usage().throttled
        except (OSError, PlatformError) as error:
            return Trial(False, str(error))
        if not 0 < used <= 0.5 * passed or held == 0:
            return Trial(False, f"a process held to 0.2 of a core used {used * 1e3:.0f} ms of {passed * 1e3:.0f} ms")
        return Trial(True, f"a process held to 0.2 of a core used {used * 1e3:.0f} ms of {passed * 1e3:.0f} ms", LIMITS)

    def host(self, name: str, cpu: float, memory: int | None) -> HostGroup:
        if self._process is None:
            self._start()
        host = ThrottledHost(self, name, cpu, memory)
        self._hosts.append(host)
        return host

    def step(self) -> None:
        """Nothing to correct: the throttler works from the accounting itself. Raises PlatformError if it has ended."""
        self._alive()

    def close(self) -> None:
        """Kill what is left of the services and end the throttler."""
        if self._process is None or self._control is None:
            return
        if self._process.poll() is None:
            for host in self._hosts:
                host.remove()
            self.order(do="close")
        self._hosts.clear()
        self._control.close()
        self._process.wait(5)
        self._process = self._control = None

    def slot(self) -> int:
        """A fresh row of the table."""
        if self._slots == SLOTS:
            raise PlatformError(f"the throttler has room for {SLOTS} hosts and services in a run", remedy="run fewer, or as root")
        self._slots += 1
        return self._slots - 1

    def order(self, descriptors: Sequence[int] = (), /, **order: Any) -> None:
        """Tell the throttler what to do."""
        self._alive()
        if self._control is not None:
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PlatformError(ENDED, remedy=VOID) from error

    def ask(self, **order: Any) -> bytes:
        """Give an order and wait for its answer, which comes through a pipe of its own: forks of the owner may ask too."""
        reading, writing = os.pipe()
        try:
            try:
                self.order([writing], **order)
            finally:
                os.close(writing)
            if not select.select([reading], [], [], PATIENCE)[0]:
                raise PlatformError(f"the process that holds services to their CPU share did not answer in {PATIENCE:g} s")
            answer = os.read(reading, 16)
        finally:
            os.close(reading)
        if not answer:
            raise PlatformError(ENDED, remedy=VOID)
        return answer

    def figure(self, slot: int, column: int) -> float:
        self._alive()
        return self._table.get(slot, column) if self._table else 0.0

    def usage(self, slot: int) -> Usage:
        cpu, throttled, memory, peak, read, written = (
            self.figure(slot, column) for column in (CPU, STOPPED, MEMORY, PEAK, READ, WRITTEN)
        )
        return Usage(cpu, int(memory), int(peak), throttled, int(read), int(written))

    def _alive(self) -> None:
        if self._process is None or self._owner != os.getpid():  # a fork cannot know: to the kernel it has no such child
            return
        if self._process.poll() is not None:
            raise PlatformError(f"{ENDED} with status {self._process.returncode}", remedy=VOID)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        table = os.memfd_create("estran-throttle")
        os.ftruncate(table, TABLE_BYTES)
        program = [sys.executable, "-I", "-S", throttler.__file__, str(theirs.fileno()), str(table), str(os.getpid())]
        self._process = subprocess.Popen(
            program, pass_fds=(theirs.fileno(), table), stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self._control = ours
        self._table = Table(table)
        os.close(table)
        ours.settimeout(PATIENCE)
        try:
            ready = ours.recv(16)
        except TimeoutError:
            ready = b""
        ours.settimeout(None)
        if not ready:
            raise PlatformError(f"the process that would hold services to their CPU share did not start in {PATIENCE:g} s")
