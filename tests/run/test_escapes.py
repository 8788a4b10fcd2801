"""Components that escape simulated time are found out by name, and nothing of the guards is left behind."""

from __future__ import annotations

import datetime
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from estran.platforms.simulated.seams import FORBIDDEN
from tests.run.simulated import record, rows, simulate

TEXT = """
experiment: escape
layers: {edge: {hosts: 1, device: cloud-vm-2}}
services:
  rogue: {on: edge, component: "rogue:Rogue", costs: {work: 1ms}}
measure: {duration: 1s}
"""
MODULE = """
import asyncio
%s
from estran.runtime.component import Component

def work(rng):
%s
    return 1

class Rogue(Component):
    async def run(self) -> None:
        await self.clock.sleep(0.1)
        if %s:
            await self.compute(work, self.rng)
        else:
            await asyncio.sleep(0)
            %s
        await asyncio.Event().wait()
"""

ESCAPES = {
    "sleep": ("import time", "time.sleep(1)", "time.sleep", "self.clock.sleep"),
    "imported sleep": ("from time import sleep", "sleep(1)", "time.sleep", "self.clock.sleep"),
    "renamed sleep": ("from time import sleep as rest", "rest(1)", "time.sleep", "self.clock.sleep"),
    "clock": ("import time", "time.time()", "time.time", "self.clock.now"),
    "monotonic": ("from time import monotonic", "monotonic()", "time.monotonic", "self.clock.now"),
    "performance": ("import time", "time.perf_counter_ns()", "time.perf_counter_ns", "self.clock.now"),
    "now": ("from datetime import datetime", "datetime.now()", "datetime.now", "self.clock.now"),
    "utc now": ("import datetime", "datetime.datetime.now(datetime.UTC)", "datetime.now", "self.clock.now"),
    "random": ("import random", "random.random()", "random.random", "self.rng"),
    "shuffle": ("from random import shuffle", "shuffle([1, 2, 3])", "random.shuffle", "self.rng"),
    "numpy": ("import numpy as np", "np.random.rand(3)", "numpy.random.rand", "self.rng"),
    "numpy seeded": ("import numpy as np", "np.random.seed(1)", "numpy.random.seed", "self.rng"),
    "numpy imported": ("from numpy.random import normal", "normal()", "numpy.random.normal", "self.rng"),
    "unseeded generator": ("import numpy as np", "np.random.default_rng()", "default_rng without a seed", "self.rng"),
    "system": ("import os", "os.urandom(4)", "os.urandom", "self.rng"),
    "uuid": ("import uuid", "uuid.uuid4()", "uuid.uuid4", "self.rng"),
    "thread": ("import threading", "threading.Thread(target=print).start()", "threading.Thread.start", "self.compute"),
    "pool": (
        "from concurrent.futures import ThreadPoolExecutor", "ThreadPoolExecutor(1).submit(print)", "threading.Thread.start",
        "self.compute",
    ),
    "timer": ("import threading", "threading.Timer(1, print).start()", "threading.Thread.start", "self.compute"),
    "program": ("import subprocess", "subprocess.run(['true'])", "subprocess.", "command service"),
    "opened program": ("from subprocess import Popen", "Popen(['true'])", "subprocess.Popen", "command service"),
    "socket": ("import socket", "socket.socket()", "socket.socket", "streams"),
    "connection": ("import socket", "socket.create_connection(('127.0.0.1', 9))", "socket.create_connection", "streams"),
    "library": (
        "from sklearn.linear_model import SGDClassifier", "SGDClassifier().fit([[0.0], [1.0]], [0, 1])",
        "NumPy's global random state, in sklearn.", "random_state",
    ),
}  # fmt: skip


def module(imports: str, statement: str, *, computed: bool) -> str:
    return MODULE % (imports, f"    {statement}" if computed else "    pass", computed, "pass" if computed else statement)


def failure(folder: Path, source: str) -> dict[str, str]:
    run = record(simulate(folder, TEXT, {"rogue": source}))
    assert run["status"] == "failed", "the escape was not noticed"
    found: dict[str, str] = run["failure"]
    return found


def assert_told(folder: Path, source: str, call: str, remedy: str, statement: str) -> None:
    found = failure(folder, source)
    line = next(number for number, text in enumerate(source.splitlines(), 1) if statement in text)
    assert call in found["what"]
    assert f"rogue.py:{line}" in found["what"]
    assert found["service"] == "rogue-0"
    assert remedy in found["remedy"]


@pytest.mark.parametrize("computed", [False, True], ids=["in run", "in a computation"])
@pytest.mark.parametrize("name", ESCAPES)
def test_an_escape_is_named_with_its_place_and_remedy(tmp_path: Path, name: str, computed: bool) -> None:
    imports, statement, call, remedy = ESCAPES[name]
    assert_told(tmp_path, module(imports, statement, computed=computed), call, remedy, statement)


def test_a_thread_of_asyncio_is_an_escape_too(tmp_path: Path) -> None:
    statement = "await asyncio.to_thread(print)"
    assert_told(tmp_path, module("", statement, computed=False), "asyncio.to_thread", "self.compute", statement)


def test_an_executor_is_refused(tmp_path: Path) -> None:
    source = module("", "await asyncio.get_running_loop().run_in_executor(None, print)", computed=False)
    assert "in a thread of its own" in failure(tmp_path, source)["what"]


def test_a_helper_module_beside_the_experiment_is_the_users_too(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("from time import sleep\n\ndef rest():\n    sleep(1)\n")
    found = failure(tmp_path, module("import helper", "helper.rest()", computed=False))
    assert "time.sleep" in found["what"]
    assert "helper.py:4" in found["what"]


SWALLOWED = """
import contextlib
import time
from estran.runtime.component import Component

class Rogue(Component):
    async def run(self) -> None:
        with contextlib.suppress(Exception):
            time.time()
"""


def test_an_escape_that_is_swallowed_fails_the_run_in_the_end(tmp_path: Path) -> None:
    found = failure(tmp_path, SWALLOWED)
    assert "calls time.time" in found["what"]
    assert "rogue-0 at" in found["what"]
    assert "rogue.py:9" in found["what"]


def test_a_hidden_draw_is_found_out_in_the_end(tmp_path: Path) -> None:
    """Through a name in a container, which no guard has seen."""
    source = module("import random\nDRAWS = [random._inst.random]", "DRAWS[0]()", computed=False)
    found = failure(tmp_path, source)
    assert "global random state" in found["what"]


HARMLESS = """
import dataclasses
import json
import logging
import time
import uuid
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from estran.runtime.component import Component
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

@dataclasses.dataclass
class Kept:
    when: datetime
    span: timedelta = timedelta(seconds=3)

@lru_cache
def square(x):
    return x * x

def work(seed):
    model = SGDClassifier(random_state=seed).fit([[0.0], [1.0]], [0, 1])
    GaussianNB().fit([[0.0], [1.0]], [0, 1])
    return model.predict([[0.5]])[0]

class Rogue(Component):
    async def run(self) -> None:
        self.log.info("begun")
        logging.getLogger("elsewhere").warning("also heard")
        kept = Kept(datetime(2026, 1, 2), timedelta(days=1))
        assert isinstance(kept.when, datetime) and isinstance(kept.when + kept.span, datetime)
        assert datetime.fromisoformat("2026-01-02T00:00:00") == kept.when
        json.dumps(dataclasses.asdict(kept), default=str)
        rng = np.random.default_rng(int(self.rng.integers(9)))
        rng.normal(size=4)
        np.random.RandomState(3).rand()
        uuid.UUID(bytes=self.rng.bytes(16))
        square(3)
        time.strftime("%Y", (2026, 1, 1, 0, 0, 0, 0, 0, 0))
        for _ in range(3):
            self.metrics.record("answer", float(await self.compute(work, int(self.rng.integers(99)))))
            await self.clock.sleep(0.1)
"""


def test_harmless_use_of_libraries_is_none(tmp_path: Path) -> None:
    folder = simulate(tmp_path, TEXT, {"rogue": HARMLESS})
    assert record(folder)["status"] == "done", record(folder)["failure"]
    assert rows(folder, "SELECT count(*) FROM metrics WHERE metric = 'answer'") == [(3,)]


LEARNERS = """
experiment: learners
layers: {edge: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 50/s}}
  trainer: {on: edge, component: trainer, with: {learner: LEARNER}}
streams: [{from: camera.samples, to: trainer.samples}]
measure: {duration: 1s}
"""


@pytest.mark.parametrize(
    "learner", ["mlp", "softmax", '{"sklearn.linear_model:SGDClassifier": {loss: log_loss, random_state: 1}}'], ids=str
)
def test_seeded_learners_stay_within_the_seams(tmp_path: Path, learner: str) -> None:
    run = record(simulate(tmp_path, LEARNERS.replace("LEARNER", learner)))
    assert run["status"] == "done", run["failure"]


def state() -> dict[str, object]:
    """What the guards replace, as it is now."""
    found: dict[str, object] = {
        f"{name}.{function}": getattr(sys.modules[name], function)
        for name, functions, _ in FORBIDDEN
        for function in functions
        if name in sys.modules
    }
    found |= {
        "Thread.start": threading.Thread.start, "datetime": datetime.datetime, "default_rng": np.random.default_rng,
        "state": np.random.mtrand._rand, "random": random.getstate(), "numpy": str(np.random.get_state(legacy=False)),
        "stdout": sys.stdout, "socket": socket.socket, "Popen": subprocess.Popen,
    }  # fmt: skip
    return found


@pytest.mark.parametrize("escapes", [False, True])
def test_guards_are_gone_after_the_run(tmp_path: Path, escapes: bool) -> None:
    before = state()
    source = module("import time", "time.sleep(9)", computed=False) if escapes else HARMLESS
    run = record(simulate(tmp_path, TEXT, {"rogue": source}))
    assert run["status"] == ("failed" if escapes else "done")
    assert state() == before
    begun = time.monotonic()
    time.sleep(0.01)
    assert time.monotonic() - begun >= 0.009
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
