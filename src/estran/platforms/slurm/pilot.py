"""A pilot job: nodes that Slurm holds for one run, with an envoy for each host of the experiment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from estran.errors import PlatformError, expected
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.together import together
from estran.platforms.slurm.allocation import LAST, Allocation, Placed
from estran.platforms.slurm.commands import pilot, submission
from estran.platforms.slurm.keeping import put_aside, taken_over
from estran.platforms.slurm.leftovers import journalled
from estran.platforms.slurm.queue import LoginLostError, Queue, UnansweredError, cancelling
from estran.platforms.slurm.request import Request
from estran.platforms.slurm.states import ENDED, Standing, ending, hopeless, waiting
from estran.platforms.slurm.steps import Step, attended_step

SOONEST: Final = 0.1
LATEST: Final = 10.0
SHARE: Final = 0.02
"""Seconds between two looks at the queue: this share of the time waited so far, within both."""
SILENCE: Final = 600.0
"""Seconds without an answer from Slurm before a run gives up."""

Tell = Callable[[str], None]


@asynccontextmanager
async def allocated(
    request: Request,
    login: RemoteHost,
    run_id: str,
    *,
    note: Callable[[str], None],
    tell: Tell = lambda text: None,
    kept: Tell | None = None,
) -> AsyncIterator[Allocation]:
    """Hosts that Slurm allocates, for as long as the context lasts; the job is cancelled whatever happens, unless it is to be kept.

    A job that an earlier run kept, and that has what is asked for, is taken over.

    Parameters
    ----------
    login
        Where sbatch and srun are.
    note
        Writes down, before anything is submitted, what `estran.platforms.slurm.leftovers.cancel` takes.
    tell
        Told how the job waits.
    kept
        The job is to be kept for other runs, and this told of it. A job that is lost, or never began, is not.

    Raises
    ------
    SpecError
        If Slurm refuses the job, or it would wait forever, at the line of the platform file.
    PlatformError
        If Slurm does not answer, an envoy does not start, or the job ends while its hosts are in use: then they are lost, and what
        comes of that leaves the context as one error that says why.
    """
    queue, name = Queue(login), job_name(run_id)
    await queue.make_sure()
    note(journalled(name, request.login))
    await login.undo(cancelling(name))  # should this process be killed
    try:
        job = await taken_over(queue, request, name, tell) or await queue.submit(request, submission(request, name), pilot(), name)
        standings = await _started(queue, request, job, tell)
        async with _with_envoys(request, queue, job, standings, run_id) as allocation:
            watching = asyncio.create_task(_watch(allocation, queue, name, tell))
            try:
                yield allocation
            except (PlatformError, ExceptionGroup) as error:
                if not expected(error) or (lost := await allocation.ended(LAST)) is None:
                    raise
                raise lost from error
            finally:
                watching.cancel()
    except BaseException:
        await _let_go(queue, request, name, tell, kept)
        raise
    if (failed := await _let_go(queue, request, name, tell, kept)) is not None:
        raise failed


async def _watch(allocation: Allocation, queue: Queue, name: str, tell: Tell) -> None:
    """Let hosts go when the job is lost, whether they know it or, as those that are suspended, do not."""
    await allocation.broken()
    if await allocation.ended() is not None:
        await _given_back(queue, name, tell)


async def _let_go(queue: Queue, request: Request, name: str, tell: Tell, kept: Tell | None) -> PlatformError | None:
    """Keep the job if it is to be kept, and can be; else give it back."""
    if kept is not None and await put_aside(queue, request, name, kept):
        return None
    return await _given_back(queue, name, tell)


async def _given_back(queue: Queue, name: str, tell: Tell) -> PlatformError | None:
    """Cancel the job; what prevents that is told, and returned."""
    try:
        await queue.cancel(name)
    except LoginLostError:
        tell(f"{name}: the host where it was submitted is lost; its envoy cancels the job")
    except PlatformError as error:
        tell(str(error))
        return error
    return None


def job_name(run_id: str) -> str:
    """The name of a run's job, which no other job has."""
    return f"estran-{run_id}"


async def _started(queue: Queue, request: Request, job: str, tell: Tell) -> list[Standing]:
    """Wait until the job runs."""
    loop = asyncio.get_running_loop()
    begun = heard = loop.time()
    told = ""
    while True:
        try:
            standings = await queue.standings(job)
            heard = loop.time()
        except UnansweredError:
            if loop.time() - heard > SILENCE:
                raise
        else:
            if _runs(request, job, standings):
                return standings
            if (text := waiting(job, standings)) != told:
                tell(text)
                told = text
        await asyncio.sleep(min(max(SOONEST, (loop.time() - begun) * SHARE), LATEST))


def _runs(request: Request, job: str, standings: list[Standing]) -> bool:
    """Whether all of a job runs; raises if it never will."""
    for one in standings:
        if (error := hopeless(request, job, one)) is not None:
            raise error
    ended = next((one for one in standings if one.state in ENDED), None)
    if ended is not None or not standings:
        raise ending(request, job, ended)
    return all(one.state == "RUNNING" for one in standings)


@asynccontextmanager
async def _with_envoys(
    request: Request, queue: Queue, job: str, standings: list[Standing], run_id: str
) -> AsyncIterator[Allocation]:
    """An envoy for each host, all side by side."""
    placed: dict[str, Placed] = {}
    steps: list[Step] = []
    for index, (part, standing) in enumerate(zip(request.parts, standings, strict=True)):
        nodes = list((await queue.addresses(standing.nodes)).items())
        component = index if len(request.parts) > 1 else None
        for host, place in part.places.items():
            placed[host] = Placed(*nodes[place])
            steps.append(Step(host, job, component, part, nodes[place][0], f"{run_id}@{host}"))
    async with AsyncExitStack() as stack:
        entering = {step.host: stack.enter_async_context(attended_step(queue.login, step)) for step in steps}
        hosts = await together(entering)
        try:
            yield Allocation(request, queue, job, placed, hosts)
        finally:
            await asyncio.gather(*(host.close() for host in hosts.values()))  # side by side, before each is left
