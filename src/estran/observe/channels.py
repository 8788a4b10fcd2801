"""What became of the messages of every stream: lost, superseded, seen twice, overtaken, left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from estran.observe.coupling import coupling_responses
from estran.observe.figures import Response, Responses
from estran.observe.intervals import share
from estran.observe.queries import Run
from estran.observe.stories import Mask, Stories, missing_before, reordered

if TYPE_CHECKING:
    import duckdb


def channel_responses(result: Responses, run: Run, connection: duckdb.DuckDBPyConnection, every: Stories, again: Mask) -> int:
    """Add ``loss``, ``superseded``, ``duplicates``, ``reordered``, ``dropped`` and ``unprocessed``.

    Returns
    -------
    int
        Messages of acknowledged streams that were sent and not processed when the run ended (0 where senders did not say).
    """
    names = ("loss", "duplicates", "reordered")
    begin, end = result.window
    if not len(every):
        result.lack((*names, "superseded"), "no message was processed")
        return 0
    stories = every.select(~again)
    latest = np.array([delivery == "latest" for delivery in _deliveries(run, stories)], dtype=bool)
    inside = (stories.created >= begin) & (stories.created < end)
    missing = missing_before(stories)
    note = _restarts(connection)
    for name, rows, absent in (("loss", inside & ~latest, "acknowledged"), ("superseded", inside & latest, "latest")):
        if not rows.any():
            result.missing[name] = f"no message of a stream with {absent} delivery was processed in the measured window"
        _shares(result, name, stories, missing, rows, note)
    _counts(result, every, again, "duplicates")
    _counts(result, stories, reordered(stories), "reordered")
    coupling_responses(result, run, connection)
    return _unprocessed(result, run, connection, stories)


def _shares(result: Responses, name: str, stories: Stories, missing: Any, rows: Mask, note: str | None) -> None:
    order = np.argsort(stories.sent, kind="stable")
    order = order[rows[order]]
    for stream in (None, *np.unique(stories.stream[rows]).tolist()):
        mine = order if stream is None else order[stories.stream[order] == stream]
        if len(mine):
            estimate = share(missing[mine], missing[mine] + 1)
            told = f"{int(missing[mine].sum())} of {estimate.n} sent were never processed, though later ones were"
            told = told if note is None else f"{told}; {note}"
            result.values[name if stream is None else f"{name}@{stories.names[stream]}"] = Response.of(estimate, "fraction", told)


def _counts(result: Responses, stories: Stories, marked: Mask, name: str) -> None:
    begin, end = result.window
    inside = (stories.created >= begin) & (stories.created < end)
    if not inside.any():
        result.missing[name] = "no message was created and processed in the measured window"
        return
    estimate = share(marked[inside], np.ones(int(inside.sum())))
    bounds = estimate.ci95 and (estimate.ci95[0] * estimate.n, estimate.ci95[1] * estimate.n)
    result.values[name] = Response(float(marked[inside].sum()), "messages", estimate.n, bounds, estimate.note)


def _deliveries(run: Run, stories: Stories) -> list[str]:
    """Delivery class of each row's channel; acknowledged where the plan does not say."""
    plan = run.document("plan") or {}
    known = {
        (channel["stream"], channel["producer"], channel["consumer"]): channel["delivery"] for channel in plan.get("channels", [])
    }
    names = stories.names
    ends = zip(stories.stream.tolist(), stories.origin.tolist(), stories.receiver.tolist(), strict=True)
    return [known.get((names[stream], names[origin], names[receiver]), "acknowledged") for stream, origin, receiver in ends]


def _restarts(connection: duckdb.DuckDBPyConnection) -> str | None:
    found = connection.execute("SELECT count(*) FROM events WHERE event = 'restarted'").fetchone()
    if not found or not found[0]:
        return None
    return f"{found[0]} restart(s): what a replica processed in its last moments may be unrecorded, and then counts here"


def _unprocessed(result: Responses, run: Run, connection: duckdb.DuckDBPyConnection, stories: Stories) -> int:
    """Compare what senders counted with the last number that was processed."""
    channels = {channel["name"]: channel for channel in run.channels if channel["delivery"] == "acknowledged"}
    sent = _sent(connection, channels)
    if not sent:
        result.missing["unprocessed"] = "no sender of an acknowledged stream said how much it had sent"
        return 0
    codes = {name: code for code, name in enumerate(stories.names)}
    left, lives = 0, _lives(connection)
    for key, frames in sent.items():
        ends = [codes.get(channels[key][role], -1) for role in ("stream", "producer", "consumer")]
        mine = (stories.stream == ends[0]) & (stories.origin == ends[1]) & (stories.receiver == ends[2])
        mine &= stories.sent >= lives.get(channels[key]["producer"], -np.inf)  # a producer that began anew counts from 0 again
        left += max(0, frames - (int(stories.seq[mine].max()) + 1 if mine.any() else 0))
    result.values["unprocessed"] = Response(
        float(left), "messages", sum(sent.values()), None, "sent, and not processed when the run ended"
    )
    return left


def _lives(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """When those replicas that were ready more than once were so for the last time."""
    query = "SELECT replica, max(time) FROM events WHERE event = 'ready' GROUP BY replica HAVING count(*) > 1"
    return dict(connection.execute(query).fetchall())


def _sent(connection: duckdb.DuckDBPyConnection, channels: dict[str, Any]) -> dict[str, int]:
    """Frames that each channel's sender counted, by key."""
    sent: dict[str, int] = {}
    for replica, detail in connection.execute(
        "SELECT replica, detail FROM events WHERE event = 'channel' ORDER BY time"
    ).fetchall():
        counted = msgspec.json.decode(detail)
        key = counted.get("channel", counted.get("key"))
        if key in channels and channels[key]["producer"] == replica and "frames" in counted:
            sent[key] = int(counted["frames"])
    return sent
