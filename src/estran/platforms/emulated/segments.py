"""How many segments a host's TCP may hand down as one packet, so that a relay sees packets no coarser than it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from estran.platforms.emulated.namespace import entered
from estran.platforms.emulated.netlink import Netlink, segments_per_packet
from estran.platforms.emulated.relay_core import FULL_FRAME
from estran.spec.model import LinkSpec

if TYPE_CHECKING:
    from estran.platforms.emulated.fabric import Fabric

MOST: Final = 65535
"""The kernel's own bound: as many as fit into 64 KiB."""

_GRAIN: Final = 1e-3


def segments_for(link: LinkSpec) -> int:
    """Segments per packet that a link bears.

    One where packets are lost, since a loss must hit one segment; else what the line takes 1 ms to send, since a
    super-packet moves as a whole and others wait behind it; 64 KiB where the rate is unlimited.
    """
    if link.loss:
        return 1
    if link.rate is None:
        return MOST
    return min(MOST, max(1, int(link.rate * _GRAIN / (8 * FULL_FRAME))))


def segments_by_host(links: Mapping[tuple[str, str], LinkSpec]) -> dict[str, int]:
    """The strictest bound of each host's outgoing links."""
    bounds: dict[str, int] = {}
    for (source, _), link in links.items():
        bounds[source] = min(bounds.get(source, MOST), segments_for(link))
    return {name: bound for name, bound in bounds.items() if bound < MOST}


def bound_segments(fabric: Fabric, links: Mapping[tuple[str, str], LinkSpec]) -> dict[str, int]:
    """Bound the packets of hosts; TCP connections opened from now on keep to it.

    Returns
    -------
    dict
        The bound of each host that got one.

    Raises
    ------
    PlatformError
        If the kernel refuses.
    """
    bounds = segments_by_host(links)
    for name, most in bounds.items():
        host = fabric.hosts[name]
        with entered(host.namespace_fd), Netlink() as kernel:
            kernel.send([segments_per_packet(host.interface_index, most)])
    return bounds


@contextmanager
def bounded_segments(fabric: Fabric) -> Iterator[None]:
    """Bound the packets of a fabric's hosts for the body's time."""
    bounds = bound_segments(fabric, fabric.links)
    try:
        yield
    finally:
        for name in bounds:
            host = fabric.hosts[name]
            with entered(host.namespace_fd), Netlink() as kernel:
                kernel.send([segments_per_packet(host.interface_index, MOST)])
