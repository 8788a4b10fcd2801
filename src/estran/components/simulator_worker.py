"""Runs a simulator written in Python in a process of its own: ``python -m estran.components.simulator_worker FOLDER PATH``.

``PATH`` is ``module:function``. Each line of standard input is a simulation: ``{"parameters": {…}, "seed": …, "steps": …}``. Its
time steps go to standard output as ``.npy``, one after the other, and an array without elements after the last; one such array says
that the function has been imported. What the simulator prints goes to standard error. If it raises, the process ends.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, BinaryIO

import numpy as np


def main(folder: str, path: str) -> None:
    """Serve simulations until standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path.insert(0, folder)
    module, _, name = path.partition(":")
    function = getattr(importlib.import_module(module), name)
    draws = "rng" in inspect.signature(function).parameters
    _write(out, np.empty(0))
    for line in sys.stdin:
        asked = json.loads(line)
        extra = {"rng": np.random.default_rng(asked["seed"])} if draws else {}
        _simulate(function, asked["parameters"] | extra, asked["steps"], out)


def _simulate(function: Callable[..., Any], arguments: dict[str, Any], steps: int, out: BinaryIO) -> None:
    for step in islice(function(**arguments), steps):
        array = np.asarray(step)
        if not array.size:
            raise ValueError("a time step has no elements")
        _write(out, array)
    _write(out, np.empty(0))


def _write(out: BinaryIO, array: np.ndarray[Any, Any]) -> None:
    buffer = io.BytesIO()  # a pipe cannot tell where it is, which np.save wants to know
    np.save(buffer, array, allow_pickle=False)
    out.write(buffer.getbuffer())
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
