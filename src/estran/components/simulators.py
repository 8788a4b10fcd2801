"""Simulators as processes: a Python function in a worker of its own, or any program; either may crash, hang or write garbage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import IO, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from estran.components.frames import Frames, SimulationError
from estran.errors import ServiceError
from estran.runtime.compute import spent_elsewhere
from estran.runtime.threads import ONE_THREAD

WORKER: Final = "estran.components.simulator_worker"
START_TIMEOUT: Final = 120.0
"""Seconds that a worker may take to start and to import the simulator."""
PRINTED: Final = 2**16


class Simulator(Protocol):
    """Runs one simulation after the other."""

    def begin(self, parameters: Mapping[str, float], seed: int, steps: int) -> None:
        """Begin a simulation, of which so many steps will be asked."""
        ...

    def step(self) -> NDArray[Any] | None:
        """The next time step of the one that was begun, or None after the last.

        Raises
        ------
        SimulationError
            If it failed.
        """
        ...

    def abandon(self) -> None:
        """Have done with the simulation that was begun, however it stands."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


class _Process:
    """A process whose standard output is arrays, and whose standard error is kept."""

    def __init__(self, argv: Sequence[str], folder: Path, said: Path, timeout: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._said, self._timeout = said, timeout
        with said.open("wb") as errors:
            self._popen = subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env={**ONE_THREAD, **os.environ}
            )
        self._spent = 0.0
        self._frames = Frames(_pipe(self._popen.stdout).fileno(), timeout)

    def write(self, line: str) -> None:
        """Write to its standard input; a process that has ended is found out when its output is read."""
        with suppress(BrokenPipeError):
            _pipe(self._popen.stdin).write(line.encode())
            _pipe(self._popen.stdin).flush()

    def next(self, patience: float | None = None) -> NDArray[Any] | None:
        """The next array that it writes (see `Frames.next`), at the expense of the computation that asks for it."""
        array = self._frames.next(patience)
        spent = self._processor_seconds()
        spent_elsewhere(max(spent - self._spent, 0.0))
        self._spent = max(spent, self._spent)
        return array

    def print(self) -> bytes:
        """What else it writes; nothing at its end."""
        return self._frames.read(PRINTED)

    def _processor_seconds(self) -> float:
        """What all of its threads have used so far; 0 once it has ended."""
        total = 0
        for place in Path(f"/proc/{self._popen.pid}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError):
                total += int(place.read_text().split()[0])
        return total * 1e-9

    def ended(self) -> str:
        """Wait for its end; what went wrong, or nothing."""
        try:
            status = self._popen.wait(self._timeout)
        except subprocess.TimeoutExpired:
            return "closed its output and went on"
        lines = self._said.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        if status == 0:
            return ""
        return f"crashed with {f'signal {-status}' if status < 0 else f'status {status}'}{last}"

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            with suppress(BrokenPipeError):
                _pipe(pipe).close()


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    if end is None:
        raise ServiceError("a simulator's process has no pipe", remedy="this is a defect of Estran")
    return end


class PythonSimulator:
    """``module:function``, in a worker that serves many simulations and is replaced after one that failed.

    Parameters
    ----------
    experiment
        The experiment file's folder, where the module is looked for first.
    folder
        A scratch folder of its own.
    options
        Arguments that are the same in all simulations.

    Raises
    ------
    ServiceError
        If the function cannot be imported there.
    """

    def __init__(self, path: str, experiment: Path, folder: Path, options: Mapping[str, Any], timeout: float) -> None:
        self._argv = [sys.executable, "-m", WORKER, str(experiment.resolve()), path]
        self._folder, self._options, self._timeout = folder, dict(options), timeout
        try:
            self._process: _Process | None = self._started()
        except SimulationError as error:
            raise ServiceError(
                f"the simulator {path} {error.what}", remedy="mend it; it must import in a process of its own"
            ) from error
        self._over, self._left = True, 0

    def begin(self, parameters: Mapping[str, float], seed: int, steps: int) -> None:
        self._process = self._process or self._started()
        self._process.write(json.dumps({"parameters": self._options | dict(parameters), "seed": seed, "steps": steps}) + "\n")
        self._over, self._left = False, steps

    def step(self) -> NDArray[Any] | None:
        array = None if self._over else self._next()
        self._left -= 1
        if array is not None and self._left == 0:
            self._next()  # the end, so that the worker is free for the next one
        return array

    def _next(self) -> NDArray[Any] | None:
        """The next array, or None at the end of the simulation."""
        process = self._process
        array = None if process is None else process.next()
        if process is None or array is None:
            raise SimulationError((process.ended() if process else "") or "ended by itself")
        self._over = not array.size
        return None if self._over else array

    def abandon(self) -> None:
        if not self._over:
            self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process = None

    def _started(self) -> _Process:
        process = _Process(self._argv, self._folder, self._folder / "simulator.err", self._timeout)
        if process.next(START_TIMEOUT) is None:
            raise SimulationError(process.ended() or "ended by itself")
        return process


class ProgramSimulator:
    """Any program, started anew for each simulation, which writes arrays as ``.npy`` to its standard output or to files.

    Parameters
    ----------
    argv
        Its arguments, in which ``{name}`` stands for a parameter and ``{experiment}`` for the experiment file's folder.
    files
        A pattern of the files that it leaves, read in the order of their names once it has ended; None for standard output.
    """

    def __init__(self, argv: Sequence[str], files: str | None, experiment: Path, folder: Path, timeout: float) -> None:
        self._argv, self._files, self._timeout = argv, files, timeout
        self._experiment, self._folder = str(experiment.resolve()), folder / "simulation"
        self._said = folder / "simulator.err"
        self._process: _Process | None = None
        self._written: list[Path] | None = None

    def begin(self, parameters: Mapping[str, float], seed: int, steps: int) -> None:
        self.abandon()
        words = {**{name: repr(value) for name, value in parameters.items()}, "experiment": self._experiment, "seed": str(seed)}
        argv = [word.format_map(words) for word in self._argv]
        try:
            self._process = _Process(argv, self._folder, self._said, self._timeout)
        except OSError as error:
            raise SimulationError(f"could not be started: {argv[0]}: {error.strerror}") from error

    def step(self) -> NDArray[Any] | None:
        if self._process is None:
            return None
        if self._files is not None:
            return self._filed(self._process)
        array = self._process.next()
        if array is None:
            self._ended(self._process)
        return array

    def _filed(self, process: _Process) -> NDArray[Any] | None:
        if self._written is None:
            while process.print():  # what it prints is of no interest here, but its silence and its end are
                pass
            self._ended(process)
            self._written = sorted(self._folder.glob(str(self._files)), reverse=True)
        if not self._written:
            return None
        path = self._written.pop()
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, OSError, EOFError) as error:
            raise SimulationError(f"left garbage in {path.name}: {error}") from error

    def _ended(self, process: _Process) -> None:
        fault = process.ended()
        if fault:
            raise SimulationError(fault)

    def abandon(self) -> None:
        if self._process is not None:
            self._process.kill()
            rmtree(self._folder, ignore_errors=True)
        self._process, self._written = None, None

    def close(self) -> None:
        self.abandon()
