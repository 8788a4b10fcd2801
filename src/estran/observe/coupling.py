"""What streams left out on purpose: ``dropped``, as senders counted it by the policies of their streams."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from estran.observe import usage
from estran.observe.figures import Response, Responses
from estran.observe.intervals import share
from estran.observe.queries import Run

if TYPE_CHECKING:
    import duckdb

EVENT = "coupling"
_CAUSES = {"full": "finding the stream full", "rate": "coming faster than its rate", "sample": "not drawn"}


def coupling_responses(result: Responses, run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    """Add ``dropped``, and ``dropped@…`` for each stream and each input that has a policy."""
    query = "SELECT time, detail FROM events WHERE event = $event ORDER BY time"
    rows = connection.execute(query, {"event": EVENT}).fetchall()
    edges = np.linspace(*result.window, usage.SLOTS + 1)
    parts: dict[str, list[_Count]] = defaultdict(list)
    for key, told in _by_channel(rows).items():
        count = _Count(told, edges)
        for part in ("", *_parts(run, key)):
            parts[part].append(count)
    for part, counts in sorted(parts.items()):
        offered, dropped = (sum(getattr(count, name) for count in counts) for name in ("offered", "dropped"))
        if np.sum(offered):
            causes: Counter[str] = sum((count.causes for count in counts), Counter())
            why = ", ".join(f"{number} {_CAUSES[cause]}" for cause, number in causes.items() if number)
            note = f"{int(np.sum(dropped))} of {int(np.sum(offered))} left out by policy" + (f" ({why})" if why else "")
            result.values[f"dropped@{part}" if part else "dropped"] = Response.of(share(dropped, offered), "fraction", note)


class _Count:
    """What one channel was offered and left out, by slot of the window."""

    def __init__(self, told: list[tuple[float, dict[str, Any]]], edges: Any) -> None:
        times = np.array([time for time, _ in told])
        last = np.searchsorted(times, edges, side="right")

        def growth(values: list[int]) -> Any:
            return np.diff(np.concatenate(([0], values))[last])

        self.offered = growth([one["offered"] for _, one in told])
        by_cause = {cause: growth([one["dropped"].get(cause, 0) for _, one in told]) for cause in _CAUSES}
        self.dropped = np.sum(list(by_cause.values()), axis=0)
        self.causes = Counter({cause: int(grown.sum()) for cause, grown in by_cause.items()})


def _by_channel(rows: list[tuple[float, str]]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    found: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    for time, detail in rows:
        told = msgspec.json.decode(detail)
        found[told["channel"]].append((time, told))
    return found


def _parts(run: Run, key: str) -> list[str]:
    """The stream and the input that a channel belongs to: ``camera.samples`` and ``trainer.samples``."""
    services = {name: service for name, (service, _) in run.replicas.items()}
    for channel in run.channels:
        if channel["name"] == key:
            return [channel["stream"], f"{services.get(channel['consumer'], channel['consumer'])}.{channel['input']}"]
    return []
