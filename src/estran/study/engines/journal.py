"""What of a study was handed to Slurm, written down beforehand, so that a killed study finds its jobs again.

``slurm/N/`` in the study's folder is the N-th array job: ``job.json`` says its name, its number and whether it is over,
``tasks.jsonl`` has a line for each array task, a list of runs; ``I.log`` is what array task I printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from estran.errors import RequestError
from estran.run.record import write_json, write_text
from estran.run.session import new_run_id
from estran.study.worker import Task

JOB: Final = "job.json"
TASKS: Final = "tasks.jsonl"


@dataclass(frozen=True, slots=True)
class Batch:
    """An array job.

    Attributes
    ----------
    folder
        Its folder.
    name
        The job's name, which no other job has: by it the job is found if its number was never written down.
    job
        Its number, once Slurm has given one.
    over
        Whether nothing of it goes on, nor may: an array task that finds this ends at once.
    """

    folder: Path
    name: str
    job: str | None = None
    over: bool = False

    def chunks(self) -> list[list[Task]]:
        """The runs of each array task."""
        return [json.loads(line) for line in (self.folder / TASKS).read_text(encoding="utf-8").splitlines()]

    def chunk(self, index: int) -> list[Task]:
        """The runs of one array task."""
        return self.chunks()[index]

    def log(self, index: int | str) -> Path:
        """What an array task printed; ``%a`` is the array task's number in Slurm."""
        return self.folder / f"{index}.log"

    def submitted(self, job: str) -> Batch:
        """Write down the number that Slurm gave it."""
        return self._written(replace(self, job=job))

    def ended(self) -> Batch:
        """Write down that it is over."""
        return self._written(replace(self, over=True))

    def _written(self, batch: Batch) -> Batch:
        write_json(batch.folder / JOB, {"name": batch.name, "job": batch.job, "over": batch.over})
        return batch


def begin(study: Path, chunks: Sequence[Sequence[Task]]) -> Batch:
    """Write down an array job that is about to be submitted."""
    folder = study / "slurm" / str(1 + max((number for number, _ in _numbered(study)), default=0))
    folder.mkdir(parents=True)
    write_text(folder / TASKS, "".join(json.dumps(chunk) + "\n" for chunk in chunks))
    batch = Batch(folder, f"estran-{new_run_id()}")
    return batch._written(batch)


def read(folder: Path) -> Batch:
    """Read what was written down of an array job.

    Raises
    ------
    RequestError
        If it cannot be read.
    """
    try:
        data = json.loads((folder / JOB).read_text(encoding="utf-8"))
        return Batch(folder, data["name"], data["job"], data["over"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(
            f"it cannot be read: {error}", where=str(folder / JOB), remedy="if its job has ended, remove its folder"
        ) from error


def not_over(study: Path) -> list[Batch]:
    """Array jobs of a study that may still go on."""
    batches = (read(folder) for _, folder in sorted(_numbered(study)) if (folder / JOB).exists())
    return [batch for batch in batches if not batch.over]


def _numbered(study: Path) -> Iterator[tuple[int, Path]]:
    return ((int(folder.name), folder) for folder in (study / "slurm").glob("[0-9]*"))
