"""Processes that run side by side, one for each core: libraries that start threads of their own would only wait for each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ONE_THREAD: Final[Mapping[str, str]] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Their environment, unless it says otherwise. Threads that wait cost processor time, too."""
