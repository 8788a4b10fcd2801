"""What the keeper breaks: links, processors and memory of its hosts. Nothing outside of them is touched."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from estran.errors import PlatformError
from estran.platforms.emulated.limits.limiter import HostGroup, ServiceGroup
from estran.platforms.emulated.links.engine import Running
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.connections import end_connections
from estran.platforms.emulated.network.fabric import Fabric
from estran.runtime.breaking import hog_command, refuse_too_much
from estran.spec.model import LinkSpec
from estran.units import show

Pair = tuple[str, str]


class Faults:
    """Faults that befall one run's hosts.

    Parameters
    ----------
    groups
        The limits of hosts that have services.
    """

    def __init__(self, fabric: Fabric, running: Running, groups: Mapping[str, HostGroup]) -> None:
        self._fabric = fabric
        self._running = running
        self._groups = groups
        self._down: frozenset[Pair] = frozenset()
        self._hogs: dict[tuple[str, str], tuple[subprocess.Popen[bytes], ServiceGroup]] = {}

    def shape(self, states: Mapping[Pair, tuple[LinkSpec, bool]]) -> None:
        """Let directions do as they are to: what a link does to packets, and whether it is down."""
        before = self._fabric.links
        changed = {pair: link for pair, (link, _) in states.items() if pair in before and before[pair] != link}
        if changed:
            self._running.update(changed)
        down = {pair for pair, (_, down) in states.items() if down}
        if fresh := down - self._down:
            self._running.cut(fresh)
        if mended := (states.keys() - down) & self._down:
            self._running.mend(mended)
        self._down = (self._down | down) - mended

    def pace(self, host: str, speed: float) -> None:
        """Let a host compute at this part of its speed; one without services has none."""
        if host in self._groups:
            self._groups[host].pace(speed)

    def press(self, key: str, host: str, memory: int) -> None:
        """Have a process take memory of a host, as fast as the host's processor lets it; it is killed last."""
        group = self._groups.get(host)
        if group is None:
            raise PlatformError(
                "has no services whose memory could be taken", where=host, remedy="let it befall a host that has some"
            )
        if group.memory is not None and memory >= group.memory:
            raise PlatformError(
                f"{show(memory, 'size')} are no less than all the memory that it has ({show(group.memory, 'size')})",
                where=host,
                remedy="let the fault take less",
            )
        refuse_too_much(memory)
        service = group.service(f"fault-{key.replace('/', '-')}", group.cpu)
        process = subprocess.Popen(hog_command(memory), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        self._hogs[key, host] = process, service
        service.attach(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()

    def relieve(self, key: str, host: str) -> None:
        """Give the memory back."""
        process, service = self._hogs.pop((key, host), (None, None))
        if process is not None and service is not None:
            process.kill()
            process.wait()
            service.remove()

    def forget(self, host: str) -> None:
        """End the connections of a host whose processes are dead, which would have the kernel speak for them."""
        descriptor = self._fabric.hosts[host].namespace_fd
        if descriptor is not None:
            with namespace.entered(descriptor):
                end_connections()
