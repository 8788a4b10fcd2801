"""How many heaps the allocator keeps in a service.

A service has some twenty threads, most of them zenoh's. glibc's malloc gives each of them a heap of its own (an *arena*, up to
eight for each core of the machine) and keeps the free end of every one, by which a service grows with each peak that one of its
threads has not met before, for as long as it runs, although nothing in it does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Final

ARENAS: Final = 4
"""At the most, unless ``MALLOC_ARENA_MAX`` says otherwise. With one or two, threads that wait for each other may slow streams."""

_M_ARENA_MAX: Final = -8


def limit_arenas(environment: Mapping[str, str]) -> None:
    """Have this process' threads share few heaps; other allocators than glibc's are left as they are.

    Call it before there are threads. A forked service has not begun as a program, which is when glibc reads the environment.
    """
    asked = environment.get("MALLOC_ARENA_MAX", str(ARENAS))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and asked.isdecimal():
        mallopt(_M_ARENA_MAX, int(asked))
