from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, RequestError
from estran.reproduce.mlflow import write_mlflow


def test_runs_of_a_study_lie_below_it(study: Path, tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="needs estran[mlflow]")
    pytest.importorskip("sqlalchemy", reason="needs estran[mlflow]")
    uri, parent = write_mlflow(study, str(tmp_path / "db"))
    client = tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], filter_string=f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(runs) == 4
    first = min(runs, key=lambda run: run.data.tags["estran.folder"])
    folder = Path(first.data.tags["estran.folder"])
    responses = json.loads((folder / "responses.json").read_text())
    assert first.data.metrics["latency"] == responses["latency"]["value"]
    assert {name.replace("@", "/") for name in responses} <= set(first.data.metrics)
    assert first.data.params["rate"] in ("20", "40")
    assert (first.info.status, client.get_run(parent).info.status) == ("FINISHED", "FINISHED")
    assert (tmp_path / "db" / "artifacts" / first.info.run_id / "artifacts" / "responses.json").exists()
    assert client.get_run(write_mlflow(Path(first.data.tags["estran.folder"]), uri)[1]).data.metrics == first.data.metrics
    with pytest.raises(EstranError, match="MLflow refuses"):
        write_mlflow(folder, "nonsense://x")


def test_without_mlflow_it_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RequestError, match=r"estran\[mlflow\]"):
        write_mlflow(run, str(tmp_path))
