"""Messages for some of those that a stream leads to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from estran.errors import ServiceError
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output
from tests.components.stage import Stage, play


@dataclass(frozen=True)
class Word:
    text: str


class Speaker(Component):
    words: Output[Word]

    async def run(self) -> None:
        await self.words.send(Word("to all"))
        await self.words.send(Word("to two"), to=["near-0", "far-1"])
        await self.words.send(Word("to nobody"), to=())
        await self.words.send(Word("to all again"))
        with pytest.raises(ServiceError, match="no stream leads from output words to moon-0") as raised:
            await self.words.send(Word("to the moon"), to=["near-0", "moon-0"])
        assert "routing: all" in str(raised.value)


class Listener(Component):
    words: Input[Word]

    async def setup(self) -> None:
        self.heard: list[str] = []

    async def run(self) -> None:
        async for message in self.words:
            self.heard.append(message.payload.text)


def test_a_message_reaches_those_that_it_is_for() -> None:
    stage = Stage()
    speaker = stage.add(Speaker, "speaker")
    near, far = stage.add(Listener, "near"), [stage.add(Listener, "far", index=i, replicas=2) for i in range(2)]

    async def scene() -> None:
        stage.connect(speaker, "words", (near, "words"))
        stage.connect(speaker, "words", *[(one, "words") for one in far], delay=0.1)
        assert speaker.words.peers == ("far-0", "far-1", "near-0")
        await stage.run(1.0)

    play(scene)
    assert near.heard == far[1].heard == ["to all", "to two", "to all again"]
    assert far[0].heard == ["to all", "to all again"]
