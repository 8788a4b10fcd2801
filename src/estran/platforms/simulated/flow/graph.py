"""In which order stations work through a window of time, and how long a window may be where messages come back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from estran.errors import RequestError

Edge = tuple[str, str]


def schedule(nodes: Sequence[str], delays: Mapping[Edge, float]) -> tuple[list[str], float]:
    """Order stations so that messages go forwards; where they go in a circle, backwards over the longest delays.

    Parameters
    ----------
    delays
        Least time from each station to the next, seconds.

    Returns
    -------
    tuple
        The order; and the length of a window in which nothing that goes backwards can arrive before it ends.

    Raises
    ------
    RequestError
        If messages can go in a circle without any delay: time would stand still.
    """
    left, order, window = list(nodes), [], math.inf
    while left:
        entering = {node: [delay for (a, b), delay in delays.items() if b == node and a in left and a != b] for node in left}
        itself = {node: delays.get((node, node), math.inf) for node in left}
        free = [node for node in left if not entering[node] and itself[node] > 0]
        chosen = free or [max(left, key=lambda node: min([itself[node], *entering[node]]))]
        for node in chosen[: None if free else 1]:
            back = min([itself[node], *entering[node]])
            if back <= 0:
                circle = " → ".join(_circle(node, left, delays))
                remedy = "give a link on the way a delay:, or take one stream out"
                raise RequestError(f"messages can go in a circle without delay: {circle}", where="streams", remedy=remedy)
            window = min(window, back)
            order.append(node)
            left.remove(node)
    return order, window


def _circle(start: str, left: Sequence[str], delays: Mapping[Edge, float]) -> list[str]:
    """A way from a station back to itself, or to where it circles."""
    way = [start]
    while True:
        before = next((a for (a, b), delay in delays.items() if b == way[0] and a in left and delay <= 0), way[0])
        if before in way:
            return [before, *way[: way.index(before) + 1]]
        way.insert(0, before)
