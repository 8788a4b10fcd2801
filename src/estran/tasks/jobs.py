"""Tasks that go on in the background (``async`` with ``poll: 0``), watched."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from estran.errors import Where
from estran.tasks.result import CENSORED

Found = dict[str, Any]


@dataclass(slots=True)
class Job:
    """One task in the background."""

    host: str
    id: str
    task: str
    where: Where
    running: asyncio.Task[Found]
    no_log: bool = False

    def result(self) -> Found | None:
        """What it found; None while it runs or if it was ended."""
        return self.running.result() if self.running.done() and not self.running.cancelled() else None


@dataclass(slots=True)
class Jobs:
    """All background tasks of a run. They end with `close`."""

    jobs: dict[tuple[str, str], Job] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, host: str, task: str, where: Where, work: Callable[[], Awaitable[Found]], *, no_log: bool) -> Found:
        """Start one; return what is registered of it."""
        number = f"j{next(self._numbers)}.{len(self.jobs)}"

        async def run() -> Found:
            return await work()

        running = asyncio.create_task(run(), name=f"{task} on {host}")
        self.jobs[host, number] = Job(host, number, task, where, running, no_log)
        return {"started": True, "finished": False, **self._names(number), "changed": True}

    def _names(self, number: str) -> Found:
        return {"ansible_job_id": number, "results_file": f"(kept by the controller)/{number}"}

    def status(self, host: str, number: str) -> Found:
        """What is registered of a look at one."""
        empty = {"stdout": "", "stderr": ""}
        job = self.jobs.get((host, number))
        if job is None:
            return {"started": True, "finished": True, **empty, **self._names(number), "failed": True, "msg": "could not find job"}
        if not job.running.done():
            return {"started": True, "finished": False, **empty, **self._names(number), "changed": False}
        return {
            "started": True,
            "finished": True,
            **empty,
            **(job.result() or {"failed": True, "msg": "ended"}),
            **self._names(number),
        }

    def forget(self, host: str, number: str) -> Found:
        """Take one out of the list."""
        self.jobs.pop((host, number), None)
        return {"erased": self._names(number)["results_file"], "changed": False}

    def running(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self.jobs.values() if not job.running.done()]

    def failures(self) -> list[tuple[Job, Found]]:
        """Those that ended badly, with what they found (nothing of it if the task says ``no_log``)."""
        found = [(job, job.result()) for job in self.jobs.values()]
        failed = [(job, result) for job, result in found if result is not None and result.get("failed")]
        return [(job, {"failed": True, "censored": CENSORED} if job.no_log else result) for job, result in failed]

    async def close(self) -> None:
        """End all that still run, on their hosts too."""
        running = [job.running for job in self.running()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
