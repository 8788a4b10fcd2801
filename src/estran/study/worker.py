"""A process that makes runs of a study, one after another: tasks come in as lines of JSON, and how each ended goes out.

A process of its own, because a run has an event loop and signal handlers of its own, and because several can then go on side by
side. It is kept from run to run, so that Python and the models are imported once, and hosts are built once. When the study's
process dies, so does it: a run that goes on then ends in good order, as after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

if TYPE_CHECKING:
    from estran.platforms.base import Platform
    from estran.run.prepare import Prepared

_PR_SET_PDEATHSIG: Final = 1


class Task(TypedDict):
    """One run: `estran.run.prepare.prepare`'s arguments, and the folder ``out``/``named`` to leave it in.

    With ``flow`` it is simulated by cost models alone.
    """

    file: str
    overrides: list[str]
    levels: dict[str, Any]
    seed: int
    on: str
    calibration: str | None
    out: str
    named: str
    command: list[str]
    flow: NotRequired[bool]


def main() -> None:
    """Serve until there is no more input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # What a component prints while it is simulated must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(status: str) -> None:
        answers.write(json.dumps({"status": status}) + "\n")
        answers.flush()

    serve(map(json.loads, sys.stdin), answer)


def serve(tasks: Iterable[Task], answer: Callable[[str], None]) -> None:
    """Make runs one after another, until there are no more or one is interrupted; say of each how it ended."""
    with contextlib.suppress(KeyboardInterrupt), Workshop() as workshop:
        for task in tasks:
            # While a run goes on, it has handlers of its own; before and after, and so anew each time, this one is in force.
            signal.signal(signal.SIGTERM, _interrupt)
            status = workshop.make(task)
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                answer(status)
            except BrokenPipeError:  # the study's process is gone, and what it was told could not be heard
                break
            if status == "interrupted":
                break


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Workshop:
    """Makes runs, and keeps the hosts of one for the next; a context manager that gives them back."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._platforms: dict[str, Platform] = {}

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()

    def make(self, task: Task) -> str:
        """Make one run; what it was and how it ended stands in its folder, also where it could not begin.

        Returns
        -------
        str
            ``done``, ``failed`` or ``interrupted``.
        """
        from estran.errors import EstranError
        from estran.run.record import QuietProgress, RunRecord
        from estran.run.session import execute, make_folder, new_run_id

        out, named = Path(task["out"]), task["named"]
        try:
            if task.get("flow"):
                return _flow(task)
            prepared = self._prepare(task, out)
            return execute(prepared, out=out, progress=QuietProgress(), command=task["command"], named=named)[1]
        except EstranError as error:
            if (out / named / "run.json").exists():
                raise
            facts = {"id": new_run_id(), "experiment": Path(task["file"]).stem, "platform": task["on"], "seed": task["seed"]}
            record = RunRecord(make_folder(out / named), facts, QuietProgress())
            record.fail(error)
            record.end("failed")
            return "failed"
        except KeyboardInterrupt:
            return "interrupted"

    def _prepare(self, task: Task, out: Path) -> Prepared:
        from estran.run.prepare import Simulation, prepare

        simulated = task["on"] == "simulate"
        return prepare(
            task["file"],
            overrides=task["overrides"],
            assignment=task["levels"],
            seed=task["seed"],
            on=task["on"],
            simulation=Simulation(task["calibration"]) if simulated else None,
            platform=None if simulated else self._platform(task["on"], out),
        )

    def _platform(self, name: str, out: Path) -> Platform:
        """The platform of a name, which keeps hosts if it can."""
        from estran.run.holding import holding
        from estran.run.prepare import open_platform

        if name not in self._platforms:
            platform = open_platform(name)
            self._held.enter_context(holding(platform, out))
            self._platforms[name] = platform
        return self._platforms[name]


def _flow(task: Task) -> str:
    """Make a run by cost models alone, on one thread: others go on beside it."""
    from estran.run.flow import prepare_by_costs
    from estran.run.record import QuietProgress

    prepared = prepare_by_costs(
        task["file"], overrides=task["overrides"], assignment=task["levels"], seed=task["seed"], calibration=task["calibration"]
    )
    return prepared.execute(
        out=Path(task["out"]), progress=QuietProgress(), command=task["command"], threads=1, named=task["named"]
    )[1]


if __name__ == "__main__":
    main()
