"""Runs made by array jobs in Slurm, on a file system that its nodes share.

All runs that wait are handed over at once, as one array job; each of its tasks makes a few of them, one after another. What holds
is what the run folders say. The queue is asked only whether an array task still goes on: if it has ended and its runs have not, the
run that it was making is lost (and made again, as often as the study allows), and those behind it go into the next array job.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from estran.errors import EstranError, RequestError
from estran.observe.queries import open_run
from estran.study.engines import journal, queue
from estran.study.engines.engine import Choice, EngineError, Place, Tell, from_root
from estran.study.engines.journal import Batch
from estran.study.engines.queue import SlurmError, State
from estran.study.worker import Task

AT_ONCE: Final = 32
"""Array tasks at once, unless ``--jobs`` says otherwise."""
SHARES: Final = 4
"""Array tasks for each that goes on at once: more are fairer when runs take unequally long, fewer start Python less often."""
POLL: Final = 5.0
"""Seconds between two looks at the queue."""
FOLDERS: Final = 0.5
"""Seconds between two looks at run folders, at the most."""
TOGETHER: Final = 0.05
"""Seconds after the first task that is asked for; those asked for meanwhile go into the same array job."""
PATIENCE: Final = 900.0
"""Seconds without an answer from Slurm before a study gives up."""
GRACE: Final = 90.0
"""Seconds that cancelled runs have to end in good order; Slurm's own KillWait is 30 unless it is set."""
OWN: Final = ("chunk", "poll")
RESERVED: Final = (
    "array", "clusters", "error", "job-name", "no-requeue", "output", "parsable", "requeue", "test-only", "wait", "wrap",
)  # fmt: skip


def check(choice: Choice) -> None:
    """Make sure that Slurm is here and would take a job with such options.

    Raises
    ------
    RequestError
        If not.
    """
    choice.number("chunk", 1)
    choice.number("poll", POLL)
    for name in choice.options:
        if name in RESERVED:
            raise RequestError(f"--{name} is set by the study itself", where="--engine-option", remedy="leave it out")
    queue.make_sure_of_slurm()
    queue.try_out(_arguments(choice))


def make_sure_of_none(study: Path) -> None:
    """Make sure that no job makes runs of a study that another engine is about to make.

    Raises
    ------
    RequestError
        If one does, or nobody can tell.
    """
    for batch in journal.not_over(study):
        try:
            queue.make_sure_of_slurm()
            job = batch.job or queue.find(batch.name)
            going = job is not None and queue.active(job)
        except EstranError as error:
            raise RequestError(
                f"job {batch.job or batch.name} in Slurm may still make runs of this study, and cannot be asked: {error.what}",
                where=str(batch.folder),
                remedy="resume where Slurm is; or, if you know that the job has ended, remove this folder",
            ) from error
        if going:
            raise RequestError(
                f"job {job} in Slurm still makes runs of this study",
                where=str(batch.folder),
                remedy=f"add --engine slurm to await it, or end it: scancel {job}",
            )
        batch.ended()


def shared_out(tasks: Sequence[Task], *, at_once: int, chunk: int | None, most: int) -> list[Sequence[Task]]:
    """Tasks in chunks, one for each array task.

    Parameters
    ----------
    chunk
        Runs in each; None for `SHARES` chunks for each array task that goes on at once.
    most
        Chunks that there may be; they are made longer if there were more.
    """
    size = max(chunk or math.ceil(len(tasks) / (at_once * SHARES)), math.ceil(len(tasks) / most))
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


@dataclass(slots=True)
class _Wanted:
    """A run that was asked for."""

    task: Task
    began: Callable[[], None] | None
    how: asyncio.Future[str]


@dataclass(slots=True)
class _Chunk:
    """An array task: its runs, how many of them have ended, and how it left the queue when it was first seen to have."""

    index: int
    tasks: Sequence[Task]
    ended: int = 0
    left: str | None = None

    @property
    def rest(self) -> Sequence[Task]:
        """Runs that have not ended."""
        return self.tasks[self.ended :]


@dataclass(slots=True)
class _Array:
    """An array job that goes on; ``lost`` are array tasks that ended before their runs did."""

    batch: Batch
    job: str
    chunks: list[_Chunk]
    lost: list[_Chunk] = field(default_factory=list)
    told: str = ""


class Slurm:
    """Makes runs by array jobs."""

    def __init__(self, choice: Choice, place: Place) -> None:
        self.width = sys.maxsize
        self._study = place.study.resolve()
        self._tell: Tell = place.tell
        self._at_once = place.jobs or AT_ONCE
        self._chunk = choice.number("chunk", 1) if "chunk" in choice.options else None
        self._poll = choice.number("poll", POLL)
        self._arguments = _arguments(choice)
        self._wanted: dict[str, _Wanted] = {}
        self._waiting: list[str] = []
        self._asked = asyncio.Event()
        self._arrays: list[_Array] = []
        self._going: set[str] = set()
        self._seen = False  # whether any run folder has appeared
        self._heard = 0.0  # when Slurm last answered
        self._submission: asyncio.Task[None] | None = None

    @property
    def going(self) -> AbstractSet[str]:
        """Runs of jobs that an earlier session left behind; see `Engine`."""
        return self._going

    async def __aenter__(self) -> Slurm:
        for batch in journal.not_over(self._study):
            await self._adopt(batch)
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._serving.cancel()
        await asyncio.shield(self._close())

    async def make(self, task: Task, began: Callable[[], None]) -> str:
        """Make a run; see `Engine.make`."""
        name = task["named"]
        wanted = self._wanted[name] = _Wanted(from_root(task), began, asyncio.get_running_loop().create_future())
        if name not in self._going:
            self._waiting.append(name)
            self._asked.set()
        try:
            return await wanted.how
        finally:
            del self._wanted[name]

    async def _adopt(self, batch: Batch) -> None:
        """Take over a job that an earlier session submitted, if it still goes on."""
        job = batch.job or await asyncio.to_thread(queue.find, batch.name)
        found = await asyncio.to_thread(queue.states, job) if job else {}
        tasks = batch.chunks()
        chunks = [_Chunk(index, tasks[index]) for index, state in found.items() if not state.ended]
        if job is None or not chunks:
            batch.ended()
            return
        array = _Array(batch.submitted(job), job, chunks)
        self._look(array)
        self._going.update(task["named"] for chunk in chunks for task in chunk.rest)
        self._arrays.append(array)
        self._tell(f"job {job} in Slurm goes on since an earlier session, with {len(self._going)} runs")

    async def _serve(self) -> None:
        """Submit what waits, one array job at a time, and watch it."""
        try:
            while True:
                if not self._arrays:
                    await self._asked.wait()
                    await asyncio.sleep(TOGETHER)
                    self._submission = asyncio.create_task(self._submit())
                    await asyncio.shield(self._submission)
                await self._watch()
        except Exception as error:
            for wanted in self._wanted.values():
                if not wanted.how.done():
                    wanted.how.set_exception(error)
            raise

    async def _submit(self) -> None:
        self._asked.clear()
        names, self._waiting = self._waiting, []
        tasks = [self._wanted[name].task for name in names if name in self._wanted]
        most = await asyncio.to_thread(queue.most_tasks)
        chunks = shared_out(tasks, at_once=self._at_once, chunk=self._chunk, most=most)
        batch = journal.begin(self._study, chunks)
        try:
            job = await asyncio.to_thread(
                queue.submit, batch, "estran.study.engines.array_task", len(chunks), self._at_once, self._arguments
            )
        except SlurmError:
            batch.ended()
            raise
        self._arrays.append(_Array(batch.submitted(job), job, [_Chunk(index, chunk) for index, chunk in enumerate(chunks)]))
        self._tell(f"job {job} in Slurm: {len(chunks)} array tasks, up to {len(chunks[0])} runs each")

    async def _watch(self) -> None:
        """Look at run folders for a while, then at the queue."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._poll
        while self._arrays and loop.time() < until:
            for array in list(self._arrays):
                self._look(array)
                self._finish(array)
            await asyncio.sleep(min(FOLDERS, self._poll))
        for array in list(self._arrays):
            try:
                found = await asyncio.to_thread(queue.states, array.job)
            except SlurmError:
                if self._heard and loop.time() - self._heard > PATIENCE:
                    raise
                self._heard = self._heard or loop.time()
                continue
            self._heard = loop.time()
            self._judge(array, found)
            self._finish(array)

    def _look(self, array: _Array) -> None:
        """See which runs have begun and ended: each array task makes its own in order, so that only the first can have."""
        for chunk in array.chunks:
            while chunk.rest:
                task = chunk.rest[0]
                wanted = self._wanted.get(task["named"])
                status = _status(task)
                if status is None:
                    break
                self._seen = True
                if wanted and wanted.began:
                    wanted.began()
                    wanted.began = None
                if status not in ("done", "failed"):
                    break
                chunk.ended += 1
                self._settle(task["named"], status)

    def _judge(self, array: _Array, found: Mapping[int, State]) -> None:
        """See which array tasks have left the queue: with their runs unended at two looks in a row, they are lost."""
        for chunk in [chunk for chunk in array.chunks if chunk.rest]:
            state = found.get(chunk.index)
            if state is not None and not state.ended:
                chunk.left = None
            elif chunk.left is None:
                chunk.left = state.name if state else "it is not in the queue any more"
            else:
                array.chunks.remove(chunk)
                array.lost.append(chunk)
        if self._seen:
            self._give_back(array)
        counts = Counter(state.name.lower() for state in found.values() if not state.ended)
        reasons = sorted({state.reason for state in found.values() if state.name == "PENDING"} - {"None"})
        why = f" ({', '.join(reasons)})" if reasons else ""
        text = f"job {array.job} in Slurm: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}{why}"
        if counts and text != array.told:
            array.told = text
            self._tell(text)

    def _finish(self, array: _Array) -> None:
        """Close an array job of which nothing is left to be awaited.

        Raises
        ------
        EstranError
            If it has ended, and no run of this session ever left a folder.
        """
        if any(chunk.rest for chunk in array.chunks):
            return
        array.batch.ended()
        self._arrays.remove(array)
        if array.lost and not self._seen:
            raise EstranError(
                f"no run of job {array.job} in Slurm left a folder in {self._study / 'runs'}; {_why(array, array.lost[0])}",
                where="Slurm",
                remedy="is the study in a folder that all nodes share, with the same Python? --out chooses another",
            )
        self._give_back(array)

    def _give_back(self, array: _Array) -> None:
        """Of array tasks that ended too early, report the run that was being made, and let those behind it wait anew."""
        for chunk in array.lost:
            lost, *behind = (task["named"] for task in chunk.rest)
            self._settle(lost, EngineError(f"run {lost} was cut off: {_why(array, chunk)}", where="Slurm"))
            self._going.difference_update(behind)
            self._waiting.extend(name for name in behind if name in self._wanted)
            if behind:
                self._asked.set()
        array.lost.clear()

    def _settle(self, name: str, how: str | EngineError) -> None:
        self._going.discard(name)
        wanted = self._wanted.get(name)
        if wanted is None or wanted.how.done():
            return
        if isinstance(how, str):
            wanted.how.set_result(how)
        else:
            wanted.how.set_exception(how)

    async def _close(self) -> None:
        """Cancel what goes on, and wait until it has ended in good order."""
        await asyncio.gather(*(task for task in (self._serving, self._submission) if task), return_exceptions=True)
        for array in self._arrays:
            try:
                await asyncio.to_thread(queue.cancel, array.job)
                async with asyncio.timeout(GRACE):
                    while await asyncio.to_thread(queue.active, array.job):
                        await asyncio.sleep(min(1.0, self._poll))
                array.batch.ended()
            except (SlurmError, TimeoutError) as error:
                self._tell(f"job {array.job} in Slurm could not be cancelled, and is found again on resume: {error}")


def _arguments(choice: Choice) -> list[str]:
    """Options as sbatch takes them."""
    others = {name: value for name, value in choice.options.items() if name not in OWN}
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in others.items()]


def _status(task: Task) -> str | None:
    """How a run stands, or None if it has not begun."""
    folder = Path(task["out"]) / task["named"]
    if not (folder / "run.json").exists():
        return None
    with contextlib.suppress(EstranError):
        return open_run(folder).status.status
    return "unreadable"


def _why(array: _Array, chunk: _Chunk) -> str:
    """How an array task ended: its state, and the last that it printed."""
    log = array.batch.log(chunk.index)
    said = ""
    with contextlib.suppress(OSError):
        said = next(iter(_last_lines(log.read_text(encoding="utf-8", errors="replace").splitlines())), "")
    return (
        f"array task {chunk.index} of job {array.job} in Slurm ended ({chunk.left}){f': {said}' if said else ''}; its log is {log}"
    )


def _last_lines(lines: Iterable[str]) -> Iterator[str]:
    return (line.strip() for line in reversed(list(lines)) if line.strip())
