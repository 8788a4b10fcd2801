"""How an answer leaves a component: in the message's story, and as a prediction of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estran.components.messages import Predictions, Samples
from estran.runtime.message import Message
from estran.runtime.ports import Output


async def answer(message: Message[Samples], odds: NDArray[np.float64], version: int, predictions: Output[Predictions]) -> None:
    """Record how one message was answered, and send the answers if anybody listens.

    Parameters
    ----------
    odds
        Class probabilities of its rows, shape (n, classes).
    version
        The model that they come from.

    Notes
    -----
    A message's record has place for one answer: those of a message of several rows are not in it.
    """
    samples = message.payload
    answers = np.asarray(odds.argmax(axis=1), dtype=np.int64)
    if len(samples) == 1:
        message.note(truth=int(samples.y[0]), answer=int(answers[0]), version=version)
    else:
        message.note(version=version)
    if predictions.connected:
        confidence = odds.max(axis=1).astype(np.float32)
        said = Predictions(answers, samples.y, confidence, version, samples.index)
        await predictions.send(said, version=version, parent=message.story)
