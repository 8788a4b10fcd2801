"""A process group of torch.distributed, over the emulated or real links between hosts, and awaited rather than waited for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from estran.errors import ServiceError

if TYPE_CHECKING:
    import torch

R = TypeVar("R")
Backend = Literal["gloo", "nccl"]
SIOCGIFADDR = 0x8915


class GroupError(ServiceError):
    """The group could not be formed, or one of it has gone."""


class ProcessGroup:
    """One life of a group: between an invitation and the first failure. An asynchronous context manager.

    Its calls block, each for ``timeout`` at the most, so they are made in a thread that it owns.

    Parameters
    ----------
    address
        Of this member's own host; what the members exchange goes by the interface that has it.
    timeout
        Seconds that a member is waited for.
    """

    def __init__(self, backend: Backend, address: str, timeout: float) -> None:
        self._backend = backend
        self._address = address
        self._timeout = timedelta(seconds=timeout)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="process-group")
        self._store: Any = None
        self._joined = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        leaving = self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)
        if not isinstance(error, asyncio.CancelledError):  # who is cancelled in the midst of a call leaves it to its end
            await asyncio.wrap_future(leaving)

    async def invite(self, port: int) -> int:
        """Keep the store by which members find each other, on a port of this host, any free one if 0; return the port."""
        return await self._call("open its store", self._open, self._address, port, True)

    async def join(self, address: str, port: int, rank: int, size: int) -> None:
        """Become a member, once all have come.

        Raises
        ------
        GroupError
            If they have not within the timeout, or the store cannot be reached.
        """
        if self._store is None:
            await self._call(f"reach the store at {address}:{port}", self._open, address, port, False)
        await self._call(f"form a group of {size}", self._join, rank, size)
        self._joined = True

    async def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of what all members give.

        Raises
        ------
        GroupError
            If a member has gone, or gives nothing within the timeout.
        """
        return await self._call("add up what its members have", self._sum, values) if self._joined else values

    async def _call(self, what: str, call: Callable[..., R], *args: Any) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        except (RuntimeError, ValueError) as error:  # torch's own errors are RuntimeErrors
            why = re.sub(r"^\[\S+\] |\. This is typically.*", "", str(error).strip().splitlines()[0])
            raise GroupError(f"the process group could not {what}: {why}", remedy="see whether a replica has ended") from error

    def _open(self, address: str, port: int, master: bool) -> int:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it warns of every address that has no name
        from torch.distributed import TCPStore

        self._store = TCPStore(address, port, None, master, self._timeout, wait_for_workers=False)
        return int(self._store.port)

    def _join(self, rank: int, size: int) -> None:
        from torch import distributed

        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface(self._address)
        distributed.init_process_group(self._backend, store=self._store, rank=rank, world_size=size, timeout=self._timeout)

    @staticmethod
    def _sum(values: torch.Tensor) -> torch.Tensor:
        from torch import distributed

        distributed.all_reduce(values)
        return values

    def _leave(self) -> None:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
        self._store = None


def interface(address: str) -> str:
    """The network interface of this host that has an IPv4 address.

    Raises
    ------
    ServiceError
        If none has.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    raise ServiceError(f"no network interface of this host has the address {address}", remedy="torch.distributed needs one")
