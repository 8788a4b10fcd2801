"""Runs made as tasks of Ray or Parsl: each is handed over by itself, and a future says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import runpy
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from estran.errors import EstranError, RequestError
from estran.runtime.threads import ONE_THREAD
from estran.study.engines.engine import Choice, EngineError, Place, from_root
from estran.study.worker import Task, Workshop

AT_ONCE: Final = 32
"""Tasks at once in Parsl, which does not say how many it bears, unless ``--jobs`` does."""
GRACE: Final = 30.0
"""Seconds that runs have to end in good order."""
_LOCAL: Final = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
"""How a Ray of its own is started: nobody else reaches it."""


def check(choice: Choice) -> None:
    """Make sure that the package is installed and the options make sense.

    Raises
    ------
    RequestError
        If not.
    """
    if find_spec(choice.name) is None:
        raise RequestError(
            f"{choice.name} is not installed",
            where=f"--engine {choice.name}",
            remedy=f"install it: pip install 'estran[{choice.name}]'",
        )
    if choice.name == "ray":
        choice.only("address")
    else:
        choice.only("config")
        _config(choice)


def opened(choice: Choice, place: Place) -> AbstractAsyncContextManager[Futures]:
    """Ray or Parsl, which is left as it was found when the block ends."""
    return _ray(choice, place) if choice.name == "ray" else _parsl(choice, place)


class Futures:
    """Makes runs by handing each to something that returns a future."""

    def __init__(self, width: int, submit: Callable[[Task], Future[str]]) -> None:
        self.width = width
        self.going: frozenset[str] = frozenset()
        self._submit = submit

    async def make(self, task: Task, began: Callable[[], None]) -> str:
        """Make a run; see `Engine.make`."""
        future = asyncio.wrap_future(self._submit(from_root(task)))
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it is known where nobody waits any more
        began()
        try:
            # Shielded: an interrupted study lets its runs end in good order, and Parsl's futures cannot be cancelled.
            return await asyncio.shield(future)
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise EngineError(
                f"what made the run ended: {type(error).__name__}: {first}", where=task["named"], remedy="is there memory enough?"
            ) from error


def make_here(task: Task) -> str:
    """Make a run in a worker of Ray or Parsl.

    Raises
    ------
    EstranError
        If the worker is a thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EstranError("a run needs a process of its own", remedy="choose an executor with processes, not threads")
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    with Workshop() as workshop:
        return workshop.make(task)


@asynccontextmanager
async def _ray(choice: Choice, place: Place) -> AsyncIterator[Futures]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is started here reports nothing to anybody
    import ray

    address = choice.options.get("address") or os.environ.get("RAY_ADDRESS") or "local"
    own = dict(_LOCAL, num_cpus=place.jobs or len(os.sched_getaffinity(0))) if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"no Ray answers at {address}: {error}", where="--engine ray", remedy="give --engine-option address=HOST:PORT"
        ) from error
    try:
        width = place.jobs or int(ray.cluster_resources().get("CPU", 1))
        remote = ray.remote(num_cpus=1, max_retries=0)(make_here)
        going: set[Any] = set()

        def submit(task: Task) -> Future[str]:
            reference = remote.remote(task)
            going.add(reference)
            future: Future[str] = reference.future()
            future.add_done_callback(lambda _: going.discard(reference))
            return future

        place.tell(f"Ray at {address}: {width} runs side by side")
        try:
            yield Futures(width, submit)
        finally:
            left = list(going)
            for reference in left:
                ray.cancel(reference, force=False)
            if left:
                await asyncio.to_thread(ray.wait, left, num_returns=len(left), timeout=GRACE)
    finally:
        ray.shutdown()  # leaves this Ray, and ends it only if it was started here


@asynccontextmanager
async def _parsl(choice: Choice, place: Place) -> AsyncIterator[Futures]:
    import parsl

    # Parsl starts programs of its own by name, which stand beside Python where no environment is activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    config = _config(choice)
    config.retries = 0  # the study makes failed runs again, in a folder of their own
    if config.run_dir == "runinfo":
        config.run_dir = str(place.study.resolve() / "parsl")
    kernel = parsl.load(config)
    width = place.jobs or AT_ONCE
    place.tell(f"Parsl with {', '.join(executor.label for executor in config.executors)}: {width} runs side by side")
    try:
        yield Futures(width, parsl.python_app(make_here, data_flow_kernel=kernel))
    finally:
        with contextlib.suppress(Exception):  # what it started is ended; that some had ended before is no error
            kernel.cleanup()
        parsl.clear()


def _config(choice: Choice) -> Any:
    """The user's configuration of Parsl: ``config`` in a file or a module.

    Raises
    ------
    RequestError
        If there is none.
    """
    from parsl.config import Config

    name = choice.options.get("config")
    remedy = "give --engine-option config=FILE.py (or a module) in which `config` is a parsl.config.Config"
    if not name:
        raise RequestError("parsl needs a configuration", where="--engine parsl", remedy=remedy)
    try:
        found = runpy.run_path(name).get("config") if name.endswith(".py") else getattr(import_module(name), "config", None)
    except Exception as error:
        raise RequestError(f"it cannot be loaded: {type(error).__name__}: {error}", where=name, remedy=remedy) from error
    if not isinstance(found, Config):
        raise RequestError("it has no `config` that is a parsl.config.Config", where=name, remedy=remedy)
    return found
