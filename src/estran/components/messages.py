"""What the ready components say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows with their classes.

    Attributes
    ----------
    x
        Shape (n, d).
    y
        Shape (n,), class indices from 0.
    index
        Number of the first row in its source's stream.
    classes
        How many classes there are in all.
    """

    x: NDArray[np.floating[Any]]
    y: NDArray[np.int64]
    index: int
    classes: int

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Model:
    """What a learner knows, enough to answer with it and to go on learning.

    Attributes
    ----------
    version
        From 1, one more with each publication.
    learner
        Name and settings, as `estran.learning.registry.create` reads them.
    features, classes
        Width of a row, and number of classes.
    state
        The learner's snapshot: arrays by name, as `estran.learning.packing.packed` leaves them.
    samples
        How many rows it has learned from.
    published_at
        Seconds of the run's clock.
    base
        ``published_at`` of the model that the state holds the changes against; None for a full one.
    """

    version: int
    learner: dict[str, Any]
    features: int
    classes: int
    state: dict[str, NDArray[Any]]
    samples: int
    published_at: float
    base: float | None = None


@dataclass(frozen=True, eq=False)
class ModelRequest:
    """What a predictor asks of a trainer.

    Attributes
    ----------
    have
        Version of the newest model that it has got, 0 for none.
    full
        Whether it cannot use one that only holds changes.
    """

    have: int
    full: bool = False


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers to the rows of one `Samples`.

    Attributes
    ----------
    answers, truths
        Class indices, shape (n,); the answers are -1 where the request was shed.
    confidence
        Probability of each answer, as the model has it, shape (n,).
    version
        The model that answered; 0 before there was one.
    index
        Number of the first row in its source's stream.
    shed
        Why the rows were not answered (``late``, ``queue``), else empty.
    """

    answers: NDArray[np.int64]
    truths: NDArray[np.int64]
    confidence: NDArray[np.float32]
    version: int
    index: int
    shed: str = ""


@dataclass(frozen=True, eq=False)
class WorkOrder:
    """What a worker is to do: begin with this model, learn, and send what it came to.

    Attributes
    ----------
    server
        When this life of the aggregator began; seconds of the run's clock.
    number
        Grows from order to order.
    model
        To begin with; its version is 0 before anything was learned.
    steps, epochs
        Steps of the stream, or passes over what the worker holds; one of them is 0. Both are where an aggregator that was restarted
        asks for the model that the worker had last.
    batch
        Rows of a step.
    """

    server: float
    number: int
    model: Model
    steps: int
    epochs: int
    batch: int


@dataclass(frozen=True, eq=False)
class Update:
    """What a worker has learned.

    Attributes
    ----------
    born
        When this life of the worker began; seconds of the run's clock.
    server, order
        Of the order that it answers; 0 to say that the worker is there and idle.
    version
        Of the model that the state began with.
    features, classes
        Width of a row, and number of classes.
    state
        Snapshot of its learner; empty where it has none.
    rows, right
        How many rows it learned from, and how many it had answered right before: with the order's model if it passes over what it
        holds, else just before it learned each step.
    failed
        Why it could not learn; empty if it could.
    """

    born: float
    server: float
    order: int
    version: int
    features: int
    classes: int
    state: dict[str, NDArray[Any]]
    rows: int = 0
    right: int = 0
    failed: str = ""


@dataclass(frozen=True, eq=False)
class Exchange:
    """What one peer says to another: its model, unasked or as an answer to the other's.

    Attributes
    ----------
    born
        When the life began of the one who made the offer; seconds of the run's clock.
    answer
        Whether it answers an offer.
    features, classes
        Width of a row, and number of classes.
    state
        A snapshot, made before the other's was taken in; empty in the answer to one that was refused.
    """

    born: float
    answer: bool
    features: int
    classes: int
    state: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Recall:
    """What one worker says to another of the rows that it keeps: how many they are, and what it asks for or answers with.

    Attributes
    ----------
    born
        When this life of the sender began; seconds of the run's clock.
    size
        Rows that the sender keeps now.
    asker, number
        When the life began of the one who asks, and its number of what it asks for; 0 to tell the size alone.
    wanted
        How many rows each draw asks for; empty in an answer.
    given
        How many rows of each draw an answer has; empty when asking.
    x, y, scores
        The rows of all draws, one draw after another; see `estran.learning.rehearsal.buffer.Memories`.
    """

    born: float
    size: int
    asker: float = 0.0
    number: int = 0
    wanted: tuple[int, ...] = ()
    given: tuple[int, ...] = ()
    x: NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    y: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class Activations:
    """What the front of a network sends up: what its cut layer says of some rows.

    Attributes
    ----------
    born, server
        When these lives of the front and of the back began; seconds of the run's clock.
    number
        Of these rows; 0 to say that the front is there.
    features, classes
        Width of a row, and number of classes.
    values, labels
        Of the cut layer, shape (n, width), and the rows' classes, shape (n,).
    front
        The front's weights before these rows, where it is time to gather them; else empty.
    """

    born: float
    server: float
    number: int
    features: int
    classes: int
    values: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]
    front: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Meeting:
    """What replicas that train in one process group tell each other to form it.

    Attributes
    ----------
    born
        When this life of the sender began; seconds of the run's clock.
    number
        Of the group that the first replica invites to; of the last one that another was in, when it says that it is there.
    members
        Names of those who are invited, in the order of their ranks; empty if this is not an invitation.
    address, port
        Where they find each other.
    learned
        Rows that the sender's model has learned from.
    features, classes
        Width of a row, and number of classes.
    state
        The model; empty if the sender has none.
    """

    born: float
    number: int
    members: list[str]
    address: str
    port: int
    learned: int
    features: int
    classes: int
    state: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Gradients:
    """What the back of a network sends down.

    Attributes
    ----------
    born, server
        When these lives of the front and of the back began; seconds of the run's clock.
    number
        Of the rows; 0 for the weights to begin with.
    values
        Gradient of the loss by the cut layer, shape (n, width); empty if there is none.
    front
        Weights that take the place of the front's; else empty.
    rate
        Length of a step.
    batch
        Rows that are sent up together.
    gather
        How many batches lie between two in which the front sends its weights.
    """

    born: float
    server: float
    number: int
    values: NDArray[np.floating[Any]]
    front: dict[str, NDArray[Any]]
    rate: float
    batch: int
    gather: int
