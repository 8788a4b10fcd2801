"""The sink: it takes anything, counts it, and keeps it as told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from estran.components.messages import Predictions, Samples
from estran.components.sink import Sink
from tests.components.stage import Stage, play


def sunk(folder: Path, settings: dict[str, Any], payloads: list[Any]) -> Stage:
    stage = Stage()
    sink = stage.add(Sink, "sink", settings, folder=str(folder))

    async def scene() -> None:
        stage.hand(sink, "messages", payloads, at=[float(i) for i in range(len(payloads))])
        await stage.run(100.0)

    play(scene)
    return stage


def predictions(n: int) -> list[Any]:
    return [Predictions(np.array([i, i + 1]), np.array([0, 1]), np.array([0.5, 0.25], dtype=np.float32), 7, i) for i in range(n)]


def test_it_counts_messages_of_any_type(tmp_path: Path) -> None:
    payloads = [*predictions(2), Samples(np.zeros((1, 2), dtype=np.float32), np.array([1]), 0, 2), 3.5, {"free": "form"}]
    stage = sunk(tmp_path, {}, payloads)
    assert stage.metric("sink-0", "messages")[-1] == 5
    assert stage.metric("sink-0", "bytes")[-1] > 100
    assert len(stage.rows["messages"]) == 5
    assert not (tmp_path / "artefacts").exists()


def test_it_writes_a_line_per_message(tmp_path: Path) -> None:
    sunk(tmp_path, {"keep": "csv"}, predictions(3))
    with (tmp_path / "artefacts" / "sink-0.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["answers"] for line in lines] == ["0 1", "1 2", "2 3"]
    assert lines[2]["trace"] == "hand:2"
    assert lines[2]["payload.version"] == "7"


def test_it_writes_arrays(tmp_path: Path) -> None:
    sunk(tmp_path, {"keep": "npz", "limit": 4}, predictions(6))
    with np.load(tmp_path / "artefacts" / "sink-0.npz", allow_pickle=False) as kept:
        assert kept["answers"].tolist() == [[i, i + 1] for i in range(4)]
        assert kept["created"].tolist() == [0.0, 1.0, 2.0, 3.0]
        assert np.isnan(kept["version"]).all()
        assert kept["trace"].tolist() == [f"hand:{i}" for i in range(4)]
