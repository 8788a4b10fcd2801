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
        Names the *root* message that this one descends from (``camera-2:17``), so that stages can be joined end to end.
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
        Version of the model that produced the payload, or None.
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
    """A payload with its story. ``done`` tells the transport that it has been processed."""

    payload: P
    story: Story = field(default_factory=Story)
