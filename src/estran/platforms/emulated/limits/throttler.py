"""The process that holds services to their share without cgroups: ``python -I -S throttler.py CONTROL TABLE``.

It is a program of its own, of the standard library only, so that it stays small and starts in milliseconds. It runs as
two processes. The *worker* compares every 2 ms the CPU time that each service used with what it may use, and stops
(SIGSTOP) or continues (SIGCONT) the service's processes. The *guard*, its parent, does nothing but watch. Whoever of
owner, guard and worker dies, and however, the others continue every process that is stopped and end:

* the worker writes a pid into the shared table *before* it stops it, so the guard knows whom to continue;
* the guard waits for the worker's end, and looks 20 times a second whether the owner is still its parent;
* the worker looks at each step whether the guard is still its parent.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time

SLOTS = 4096
ROW = 7
CPU, STOPPED, MEMORY, PEAK, READ, WRITTEN, KILLS = range(ROW)
PIDS = 16384
TABLE_BYTES = SLOTS * ROW * 8 + PIDS * 4
STEP = 0.002
CREDIT = 4 * STEP  # less, and a late step costs share; more, and short jobs run at full speed
LOOK = 0.02
SCAN = 0.2
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class Table:
    """Shared memory: a row of figures per group, and the pids that are stopped now."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, TABLE_BYTES)
        view = memoryview(self._map)
        self.rows = view[: SLOTS * ROW * 8].cast("d")
        self.stopped = view[SLOTS * ROW * 8 :].cast("i")

    def add(self, slot: int, column: int, amount: float) -> None:
        self.rows[slot * ROW + column] += amount

    def put(self, slot: int, column: int, value: float) -> None:
        self.rows[slot * ROW + column] = value

    def get(self, slot: int, column: int) -> float:
        return self.rows[slot * ROW + column]

    def release(self) -> None:
        """Continue every process that is stopped."""
        for index in range(PIDS):
            pid = self.stopped[index]
            if pid:
                signalled(pid, signal.SIGCONT)
                self.stopped[index] = 0


def signalled(pid: int, number: signal.Signals) -> None:
    """Send a signal, if the process is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def cpu_time(pid: int) -> float:
    """CPU seconds of all threads of a process, to the nanosecond; OSError if it is gone."""
    return time.clock_gettime((~pid << 3) | 2)


def stat(pid: int) -> tuple[int, int, int, float]:
    """Parent, session, start time, and CPU seconds of the children that were waited for; OSError if it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs more than the read, a thousand times a second
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[1]), int(fields[3]), int(fields[19]), (int(fields[13]) + int(fields[14])) * TICK


class Process:
    """One process under a cap."""

    def __init__(self, pid: int, since: float) -> None:
        self.pid = pid
        self.index = 0
        _, _, self.started, self.waited = stat(pid)
        # What it used before the service began is not the service's; a child born since is charged in full.
        self.counted = self.begun = 0.0 if self.started * TICK > since else cpu_time(pid)
        self.held = False
        self.strayed = False  # it computes although it was stopped: someone else continued it
        self.io = (0, 0)


class Group:
    """A host or a service: its share of local cores, and what it may still use (CPU seconds, negative: overdrawn)."""

    def __init__(self, slot: int, share: float) -> None:
        self.slot = slot
        self.share = share
        self.budget = 0.0
        self.cap(True)

    def cap(self, on: bool) -> None:
        """Hold it to its share from now on, or let it run free; what it used while free is forgiven."""
        self.budget = 0.0
        self.capped = on and self.share < len(os.sched_getaffinity(0))

    def pace(self, share: float) -> None:
        """Hold it to another share from now on."""
        self.share = share
        self.cap(True)

    def earn(self, passed: float) -> None:
        """Add what the time that passed is worth."""
        self.budget = min(self.budget + self.share * passed, self.share * max(CREDIT, 2 * passed))

    def overdrawn(self) -> bool:
        """Whether it must wait."""
        return self.capped and self.budget < 0


class Host(Group):
    """A device's share and memory limit; ``rest`` is what those that yield may use, who are charged for the others too."""

    def __init__(self, slot: int, share: float, memory: int | None) -> None:
        super().__init__(slot, share)
        self.memory = memory
        self.rest = Group(slot, share)

    def pace(self, share: float) -> None:
        super().pace(share)
        self.rest.pace(share)


class Service(Group):
    """A service's share and processes; ``extra`` is CPU time of children that came and went unseen, still to be charged."""

    def __init__(self, slot: int, share: float, host: Host, yields: bool) -> None:
        super().__init__(slot, share)
        self.host = host
        self.yields = yields
        self.since = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.sessions: set[int] = set()
        self.processes: dict[int, Process] = {}
        self.dead = 0.0
        self.extra = 0.0
        self.frozen = False


class Worker:
    """Holds services to their shares, and kills on exceeding a host's memory limit."""

    def __init__(self, control: socket.socket, table: Table) -> None:
        self.control = control
        self.table = table
        self.hosts: dict[int, Host] = {}
        self.services: dict[int, Service] = {}
        self.free = list(range(PIDS))
        self.guard = os.getppid()
        self.open = True

    def run(self) -> None:
        self.control.send(b"ready")
        control, last, look, scan = [self.control], time.monotonic(), 0.0, 0.0
        while self.open and os.getppid() == self.guard:
            idle = not any(service.processes for service in self.services.values())
            ready, _, _ = select.select(control, [], [], 0.05 if idle else max(0.0, last + STEP - time.monotonic()))
            if ready:
                self.obey()
            now = time.monotonic()
            if now >= scan:
                scan = now + SCAN
                self.scan()
            if now >= look:
                look = now + LOOK
                self.look()
            if now - last >= STEP:
                self.step(now - last)
                last = now

    def obey(self) -> None:
        """Take one order of the owner; its end closes."""
        message, fds, _, _ = socket.recv_fds(self.control, 4096, 1)
        if not message:
            self.open = False
            return
        order = json.loads(message)
        slot = order.get("slot", -1)
        if order["do"] == "host":
            self.hosts[slot] = Host(slot, order["share"], order["memory"])
        elif order["do"] == "service":
            self.services[slot] = Service(slot, order["share"], self.hosts[order["host"]], order["yields"])
        elif order["do"] == "attach" and slot in self.services:
            adopted = self.adopt(self.services[slot], order["pid"], root=True)
            os.write(fds[0], b"done" if adopted else b"gone")
        elif order["do"] == "cap":
            host = self.hosts[slot]
            for group in (host, host.rest, *(one for one in self.services.values() if one.host is host)):
                group.cap(order["on"])
        elif order["do"] == "pace":
            (self.hosts.get(slot) or self.services[slot]).pace(order["share"])
        elif order["do"] == "freeze":
            if slot in self.services:
                self.services[slot].frozen = order["on"]
                self.enforce(self.services[slot], 0.0)
            os.write(fds[0], b"done")
        elif order["do"] == "remove":
            self.remove(slot)
        elif order["do"] == "close":
            self.open = False
        for fd in fds:
            os.close(fd)

    def adopt(self, service: Service, pid: int, *, root: bool = False) -> bool:
        """Take a process into a service; False if it is gone. A root's session, if its own, is the service's."""
        if pid in service.processes:
            return True
        try:
            process = Process(pid, service.since)
            session = stat(pid)[1]
        except OSError:
            return False
        process.index = self.free.pop()
        service.processes[pid] = process
        if root and session == pid:
            service.sessions.add(pid)
        return True

    def drop(self, service: Service, process: Process) -> None:
        del service.processes[process.pid]
        service.dead += process.counted - process.begun
        self.table.stopped[process.index] = 0
        self.free.append(process.index)

    def remove(self, slot: int) -> None:
        """Kill and forget a service."""
        service = self.services.pop(slot, None)
        if service is not None:
            for process in list(service.processes.values()):
                self.look_at(service, process)
            for process in list(service.processes.values()):
                signalled(process.pid, signal.SIGKILL)
                self.drop(service, process)

    def step(self, passed: float) -> None:
        """Charge what was used since the last step; stop and continue accordingly."""
        for group in (*self.hosts.values(), *(host.rest for host in self.hosts.values()), *self.services.values()):
            group.earn(passed)
        for service in self.services.values():
            used = self.charge(service)
            service.budget -= used
            service.host.rest.budget -= used
            if not service.yields:
                service.host.budget -= used
            self.table.add(service.slot, CPU, used)
            self.table.add(service.host.slot, CPU, used)
        for service in self.services.values():
            self.enforce(service, passed)

    def charge(self, service: Service) -> float:
        used = 0.0
        for process in list(service.processes.values()):
            try:
                now = cpu_time(process.pid)
            except OSError:
                self.drop(service, process)
                continue
            process.strayed = process.held and now - process.counted > STEP / 4
            used += max(0.0, now - process.counted)
            process.counted = now
        extra, service.extra = service.extra, 0.0
        return used + extra

    def enforce(self, service: Service, passed: float) -> None:
        hold = service.frozen or service.overdrawn() or (service.host.rest if service.yields else service.host).overdrawn()
        if hold and service.processes:
            self.table.add(service.slot, STOPPED, passed)
        for process in service.processes.values():
            if hold and (process.strayed or not process.held):
                self.table.stopped[process.index] = process.pid
                signalled(process.pid, signal.SIGSTOP)
            elif process.held and not hold:
                signalled(process.pid, signal.SIGCONT)
                self.table.stopped[process.index] = 0
            process.held = hold

    def look(self) -> None:
        """Find new children, charge for those that came and went unseen, and check memory."""
        for service in self.services.values():
            for process in list(service.processes.values()):
                self.look_at(service, process)
        for host in self.hosts.values():
            self.check_memory(host)

    def look_at(self, service: Service, process: Process) -> None:
        try:
            _, _, started, waited = stat(process.pid)
            if started != process.started:  # another process has its number now
                self.drop(service, process)
                return
            with open(f"/proc/{process.pid}/task/{process.pid}/children", "rb") as file:  # noqa: PTH123
                children = [int(pid) for pid in file.read().split()]
        except OSError:
            return
        for pid in children:
            self.adopt(service, pid)
        # Children that were seen have been charged already: `dead` is what is known of the dead.
        unseen = waited - process.waited
        process.waited = waited
        known = min(unseen, service.dead)
        service.dead -= known
        service.extra += unseen - known

    def scan(self) -> None:
        """Find what `look` cannot: children of other threads, and orphans in the session of the service's first process."""
        owner = {pid: service for service in self.services.values() for pid in service.processes}
        sessions = {session: service for service in self.services.values() for session in service.sessions}
        for name in os.listdir("/proc") if owner else []:  # noqa: PTH208
            if name.isdigit() and int(name) not in owner:
                with contextlib.suppress(OSError):
                    parent, session, _, _ = stat(int(name))
                    service = owner.get(parent) or sessions.get(session)
                    if service is not None:
                        self.adopt(service, int(name))
                        owner[int(name)] = service
        for service in self.services.values():
            for process in service.processes.values():
                self.account_io(service, process)

    def account_io(self, service: Service, process: Process) -> None:
        try:
            with open(f"/proc/{process.pid}/io", "rb") as file:  # noqa: PTH123
                fields = dict(line.split(b": ") for line in file.read().splitlines())
        except OSError:
            return
        totals = int(fields[b"read_bytes"]), int(fields[b"write_bytes"])
        for column, total, before in zip((READ, WRITTEN), totals, process.io, strict=True):
            for group in (service, service.host):
                self.table.add(group.slot, column, total - before)
        process.io = totals

    def check_memory(self, host: Host) -> None:
        """Sum what the host's processes hold; where that is above the limit, look closely, and kill the largest."""
        sizes = []
        for service in self.services.values():
            if service.host is host:
                own = [(private(process.pid), service, process) for process in service.processes.values()]
                sizes += own
                self.set_memory(service, sum(size for size, _, _ in own))
        total = sum(size for size, _, _ in sizes)
        if host.memory is not None and total > host.memory:
            # Pages shared after a fork count in each process above; now they count once.
            sizes = [(proportional(process.pid, size), service, process) for size, service, process in sizes]
            total = sum(size for size, _, _ in sizes)
            if total > host.memory:
                _, service, process = max(sizes, key=lambda entry: entry[0])
                self.table.add(service.slot, KILLS, 1)  # before the kill: who notices the death must find its cause
                self.table.add(host.slot, KILLS, 1)
                signalled(process.pid, signal.SIGKILL)
        self.set_memory(host, total)

    def set_memory(self, group: Group, size: int) -> None:
        self.table.put(group.slot, MEMORY, size)
        self.table.put(group.slot, PEAK, max(size, self.table.get(group.slot, PEAK)))


def private(pid: int) -> int:
    """Bytes of a process's memory that no file backs; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * PAGE


def proportional(pid: int, otherwise: int) -> int:
    """The same with shared pages divided among those that share them, if the kernel tells this user."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"Pss_Anon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return otherwise


def work(control: socket.socket, table: Table) -> None:
    """Be the worker; whatever happens, nothing is stopped afterwards."""
    with contextlib.suppress(OSError):
        os.nice(-10)
    try:
        Worker(control, table).run()
    finally:
        table.release()


def watch(worker: int, control: socket.socket, table: Table, owner: int) -> int:
    """Wait until the worker or the owner ends; leave no process stopped."""
    control.close()
    gone = os.pidfd_open(worker)
    while not select.select([gone], [], [], 0.05)[0] and os.getppid() == owner:
        pass
    signalled(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    table.release()
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Entry point: the guard, which forks the worker."""
    control, table, owner = socket.socket(fileno=int(sys.argv[1])), Table(int(sys.argv[2])), int(sys.argv[3])
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        work(control, table)
    else:
        sys.exit(abs(watch(worker, control, table, owner)))


if __name__ == "__main__":
    main()
