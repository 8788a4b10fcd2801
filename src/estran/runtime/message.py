"""A message: a payload and its own story."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

P = TypeVar("P")


@dataclass(slots=True)
class Story:
    """What happened to a message, in seconds of the run's clock.

    Attributes
    ----------
    trace
        Names the *root* message that this one descends from (``camera-2:samples:17``), so that stages can be joined end to end.
    created
        When the root was created at its source.
    stream, origin, seq
        This message: its stream (``camera.samples``), sending replica, and number from 0 per channel.
    sent
        When it was handed to the transport.
    received
        When the receiving transport had it whole.
    bytes
        Size on the wire, before transport headers.
    version
        Version of the model that the payload is or was made with, or None.
    """

    trace: str = ""
    created: float = 0.0
    stream: str = ""
    origin: str = ""
    seq: int = -1
    sent: float = 0.0
    received: float = 0.0
    bytes: int = 0
    version: int | None = None


@dataclass(slots=True)
class Message(Generic[P]):
    """A payload with its story, as its receiver sees it.

    Attributes
    ----------
    started
        When the component took it.
    truth, answer, version
        Set by a component that answers it: true class, answered class, and version of the model that answered.
    """

    payload: P
    story: Story = field(default_factory=Story)
    started: float = 0.0
    truth: int | None = None
    answer: int | None = None
    version: int | None = None

    def note(self, *, truth: int | None = None, answer: int | None = None, version: int | None = None) -> None:
        """Record how this message was answered."""
        self.truth, self.answer, self.version = truth, answer, version
