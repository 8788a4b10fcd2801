"""The agent as a program on a remote host: the conductor speaks to it over its standard streams, which an envoy holds."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from typing import Final

from estran.runtime.agent import Agent
from estran.runtime.control import Link

WARM: Final = ("numpy", "msgspec", "zenoh", "estran.runtime.service", "estran.runtime.zenoh_transport")
"""Imported before services are forked, so that they do not each pay for it."""


async def _serve(host: str, descriptors: tuple[int, int]) -> None:
    await Agent(host, await Link.over_pipes(*descriptors), time.monotonic_ns()).serve()


def main() -> None:
    """Entry point: ``python -m estran.platforms.remote.agent_main HOST``."""
    descriptors = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # what is printed by mistake goes into the log, and not among the frames
    for name in WARM:
        importlib.import_module(name)
    asyncio.run(_serve(sys.argv[1], descriptors))


if __name__ == "__main__":
    main()
