"""A served identification engine in small, and the crowd that asks it: what pools of threads do to each other, in plain asyncio.

A thread of a pool is a place that a request must have. Everything that takes time goes through the component's doors, so the same
code runs simulated, emulated and deployed. What real threads lose to each other is written down as extra work:

- those that want the processor (caches, locks, switches): each makes a computation longer by `contention`,
- those that hold the accelerator's memory: each makes an inference longer by `crowding`.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from estran.units import Duration, Fraction

TURN = 50
"""Rounds of hashing that are one unit of work; what a unit costs is in the experiment file."""


def toil(turns: int) -> bytes:
    """Keep the processor busy for so many turns."""
    return hashlib.pbkdf2_hmac("sha256", b"leaf", b"flower", TURN * turns)


@dataclass(frozen=True)
class Request:
    """A picture that a user wants named."""

    user: int
    kilobytes: float


@dataclass(frozen=True)
class Answer:
    """What the user gets."""

    user: int


@dataclass(frozen=True)
class CrowdSettings:
    """How many users a host has: each has one request in the system, always."""

    users: int = 20
    kilobytes: float = 120.0


class Crowd(Component):
    """Users who ask, wait for the answer, and ask again. The response time is that from request to answer: `latency`."""

    REQUIRED = ("requests", "answers")

    settings: CrowdSettings
    requests: Output[Request]
    answers: Input[Answer]

    async def run(self) -> None:
        """Ask for everybody, a few at a time; then whenever somebody is answered."""
        for user in range(self.settings.users):
            await self._ask(user)
            await self.clock.sleep(self.rng.exponential(0.05))
        async for message in self.answers:
            await self._ask(message.payload.user)

    async def _ask(self, user: int) -> None:
        await self.requests.send(Request(user, self.settings.kilobytes * self.rng.lognormal(0.0, 0.4)))


@dataclass(frozen=True)
class EngineSettings:
    """Sizes of the pools; what a request takes at each stage, on the average; what threads take from each other.

    Attributes
    ----------
    http
        Threads that hold a request from its parsing to its answer.
    download, extract, simsearch
        Threads of the stages in between.
    parse, decode, search, reply
        Turns of work for the processor.
    fetch
        Waiting for 100 kB of a picture.
    inference
        On the accelerator, which does one at a time.
    """

    http: int = 40
    download: int = 40
    extract: int = 8
    simsearch: int = 40
    parse: int = 15
    decode: int = 45
    search: int = 110
    reply: int = 15
    fetch: Duration = 0.4
    index: Duration = 0.15
    inference: Duration = 0.075
    contention: Fraction = 0.02
    crowding: Fraction = 0.1


class Engine(Component):
    """Names pictures: fetches them, extracts features on the accelerator, searches for similar ones.

    Metrics: `runnable`, threads that want the processor, and `extracting`, threads on the accelerator, at each inference.
    """

    METRICS = ("runnable", "extracting")
    REQUIRED = ("requests", "answers")

    settings: EngineSettings
    requests: Input[Request]
    answers: Output[Answer]

    async def setup(self) -> None:
        """Open the pools."""
        self._download = asyncio.Semaphore(self.settings.download)
        self._extract = asyncio.Semaphore(self.settings.extract)
        self._simsearch = asyncio.Semaphore(self.settings.simsearch)
        self._accelerator = asyncio.Lock()
        self._runnable = self._extracting = 0

    async def run(self) -> None:
        """Serve with all threads until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.settings.http):
                group.create_task(self._serve(), name=f"http-{number}")

    async def _serve(self) -> None:
        while True:
            message = await self.requests.receive()
            await self._identify(message)
            self.requests.done(message)

    async def _identify(self, message: Message[Request]) -> None:
        settings, request = self.settings, message.payload
        await self._work("parse", settings.parse)
        async with self._download:
            await self.clock.sleep(settings.fetch * request.kilobytes / 100 * self.rng.lognormal(0.0, 0.3))
        async with self._extract:
            self._extracting += 1
            await self._work("decode", settings.decode * request.kilobytes / 100)
            await self._infer()
            self._extracting -= 1
        async with self._simsearch:
            await self.clock.sleep(self.rng.exponential(settings.index))
            await self._work("search", settings.search * self.rng.lognormal(0.0, 0.2))
        await self._work("reply", settings.reply)
        await self.answers.send(Answer(request.user), parent=message.story, to=[message.story.origin])

    async def _infer(self) -> None:
        async with self._accelerator:
            self.metrics.record("runnable", self._runnable)
            self.metrics.record("extracting", self._extracting)
            await self.clock.sleep(self.settings.inference * (1 + self.settings.crowding * (self._extracting - 1)))

    async def _work(self, operation: str, turns: float) -> None:
        self._runnable += 1
        lost = self.settings.contention * (self._runnable - 1)
        longer = max(1, round(turns * (1 + lost)))
        await self.compute(toil, longer, operation=operation, size=longer)
        self._runnable -= 1
