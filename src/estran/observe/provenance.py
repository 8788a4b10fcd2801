"""What led to what in a run: ``provenance.jsonl``, a line for each time an activity starts or ends, uses or generates something.

The words are those of W3C PROV. Activities are ``run``, ``phase/<name>``, ``service/<replica>`` and ``task/<number>/<host>``;
entities are ``file/<path>`` and ``model/<publisher>/<version>``. Times are seconds of the run's clock, absent where it does
not tick; those of phases are in ``run.json``. A simulated run leaves the same bytes for the same seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from estran.errors import EstranError

FILE: Final = "provenance.jsonl"
FULL: Final = 1 << 20
"""Bytes that are held back at the most."""

What = Literal["started", "ended", "used", "generated"]


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One line: what happened to an activity, maybe with an entity; ``note`` says how it ended."""

    what: What
    activity: str
    entity: str | None = None
    time: float | None = None
    note: str | None = None


class _Model(msgspec.Struct, gc=False):
    version: int


_OF_SERVICES: Final[Mapping[str, What]] = {"started": "started", "ended": "ended", "published": "generated", "swapped": "used"}
"""Kinds of event (`estran.observe.rows`) that are written down: a replica that swaps uses that version from then on."""


class Provenance:
    """Writes the file of one run; lines are held back until `flush`, which the owner calls now and then.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._held = bytearray()
        self._encode = msgspec.json.Encoder().encode_into
        self._feeds: Mapping[str, Collection[str]] = {}
        self._published: set[tuple[str, int]] = set()
        self._early: list[tuple[str, int, float]] = []

    def feeds(self, producers: Mapping[str, Collection[str]]) -> None:
        """Say which replicas send to each: a model that one uses is from one of them."""
        self._feeds = producers

    def started(self, activity: str, *, time: float | None = None) -> None:
        """An activity begins."""
        self._add(Line("started", activity, None, time))

    def ended(self, activity: str, *, time: float | None = None, note: str | None = None) -> None:
        """An activity is over."""
        self._add(Line("ended", activity, None, time, note))

    def used(self, activity: str, entities: Iterable[str]) -> None:
        """An activity reads what was there before."""
        for entity in entities:
            self._add(Line("used", activity, entity))

    def generated(self, activity: str, entities: Iterable[str]) -> None:
        """An activity leaves what was not there before."""
        for entity in entities:
            self._add(Line("generated", activity, entity))

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write down what rows of the table of events say of services and models.

        Rows of different hosts come in any order: that a model is used is written down when it is known who has published it.
        """
        for time, _, replica, event, detail in rows:
            what = _OF_SERVICES.get(event)
            if what is None or not replica:
                continue
            if what == "generated":
                self._publish(replica, _version(detail), time)
            elif what == "used":
                self._use(replica, _version(detail), time)
            else:
                self._add(Line(what, f"service/{replica}", None, time, detail if what == "ended" else None))

    def settle(self) -> None:
        """Write down uses of models of which nobody has said that they were published; their publisher is ``*``."""
        for replica, version, time in self._early:
            self._add(Line("used", f"service/{replica}", f"model/*/{version}", time))
        self._early.clear()

    def flush(self) -> None:
        """Append what was held back.

        Raises
        ------
        EstranError
            If it cannot be written.
        """
        if not self._held:
            return
        try:
            with self._path.open("ab") as file:
                file.write(self._held)
        except OSError as error:
            raise EstranError(
                f"cannot write {FILE}: {error.strerror}",
                where=str(self._path.parent),
                remedy="free some space or check permissions",
            ) from error
        self._held.clear()

    def _publish(self, replica: str, version: int, time: float) -> None:
        self._published.add((replica, version))
        self._add(Line("generated", f"service/{replica}", f"model/{replica}/{version}", time))
        early, self._early = self._early, []
        for use in early:
            self._use(*use)

    def _use(self, replica: str, version: int, time: float) -> None:
        makers = [maker for maker in self._feeds.get(replica, ()) if (maker, version) in self._published]
        if makers:
            maker = makers[0] if len(makers) == 1 else "*"
            self._add(Line("used", f"service/{replica}", f"model/{maker}/{version}", time))
        else:
            self._early.append((replica, version, time))

    def _add(self, line: Line) -> None:
        self._encode(line, self._held, -1)
        self._held += b"\n"
        if len(self._held) >= FULL:
            self.flush()


def read(path: Path) -> list[Line]:
    """All lines of a file; one that a kill has cut short at the end is left out.

    Raises
    ------
    EstranError
        If it cannot be read.
    """
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]
        return msgspec.json.Decoder(Line).decode_lines(whole)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EstranError(f"it cannot be read: {error}", where=str(path), remedy="the file is damaged or not Estran's") from error


def _version(detail: str) -> int:
    """Of a model, as an event tells it: ``{"version": 3}``, or a bare number."""
    try:
        return int(detail) if detail.isdigit() else msgspec.json.decode(detail, type=_Model).version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return -1
