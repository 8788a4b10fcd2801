"""Runs in MLflow: responses as metrics, factors as parameters, the record as artefacts; a study is a run with its runs below it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estran.errors import EstranError, RequestError
from estran.observe.queries import Run
from estran.reproduce.records import Record, manifest_of, read_record

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MOST_METRICS: Final = 1000
MOST_PARAMETERS: Final = 100
"""What MLflow takes in one batch."""
LONGEST: Final = 6000
"""Characters of a parameter's value."""
ARTEFACTS: Final = (
    "run.json", "experiment.yaml", "assignment.json", "manifest.json", "environment.json", "changes.patch", "network.json",
    "responses.json", "provenance.jsonl", "report.html", "study.json", "design.csv", "responses.csv", "explain.html",
    "optimize.json", "trials.csv", "front.csv",
)  # fmt: skip
"""Files of a record that are kept in MLflow too; tables stay in the run folder, whose place is a tag."""
_UNFIT: Final = re.compile(r"[^\w\-./ ]")


def write_mlflow(folder: Path, out: str) -> tuple[str, str]:
    """Log a record into MLflow.

    Parameters
    ----------
    folder
        Of a run, a study or an optimisation.
    out
        A tracking URI, or a folder: then the database ``mlflow.db`` and ``artifacts/`` in it.

    Returns
    -------
    tuple
        The tracking URI and the id of the run in MLflow, or of the one that a study's runs are below.

    Raises
    ------
    RequestError
        If MLflow is not installed, or this is no record.
    EstranError
        If MLflow refuses.
    """
    record = read_record(folder)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise RequestError("MLflow is not installed", where="--to mlflow", remedy="pip install 'estran[mlflow]'") from error
    uri, artefacts = _place(out)
    try:
        return uri, _log(MlflowClient(uri), record, artefacts)
    except (MlflowException, OSError, ImportError) as error:
        raise EstranError(f"MLflow refuses: {error}", where=uri, remedy="give a tracking URI, or a folder, with --out") from error


def _place(out: str) -> tuple[str, str | None]:
    """Tracking URI, and where artefacts go if that is for us to say."""
    if "://" in out or out == "databricks":
        return out, None
    folder = Path(out).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot make the folder: {error.strerror}", where=out, remedy="use another --out") from error
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _log(client: MlflowClient, record: Record, artefacts: str | None) -> str:
    experiment = _experiment(client, record.first.status.experiment, artefacts)
    if record.kind == "run":
        return _run(client, experiment, record.first, {})
    tags = {"estran.kind": record.kind, "estran.folder": str(record.folder.resolve()), "estran.status": record.status}
    began = min(_milliseconds(run.status.started) for run in record.runs)
    name = f"{record.kind} {record.folder.resolve().name}"
    parent = str(client.create_run(experiment, start_time=began, tags=tags, run_name=name).info.run_id)
    _keep(client, parent, record.folder)
    for run in record.runs:
        _run(client, experiment, run, {"mlflow.parentRunId": parent})
    client.set_terminated(parent, "FINISHED" if record.status == "done" else "FAILED", end_time=_milliseconds(record.ended))
    return parent


def _experiment(client: MlflowClient, name: str, artefacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name, artifact_location=artefacts) if found is None else found.experiment_id)


def _run(client: MlflowClient, experiment: str, run: Run, tags: Mapping[str, str]) -> str:
    from mlflow.entities import Metric, Param

    status, manifest = run.status, manifest_of(run)
    told = {"estran.folder": str(run.folder.resolve()), "estran.platform": status.platform, "estran.status": status.status}
    if (git := manifest.get("git")) is not None:
        told |= {"mlflow.source.git.commit": git["commit"], "estran.git.dirty": str(git["dirty"])}
    began, ended = _milliseconds(status.started), _milliseconds(status.ended)
    made = client.create_run(experiment, start_time=began, tags={**told, **tags}, run_name=status.id)
    name = str(made.info.run_id)
    metrics = [Metric(metric, value, ended, 0) for metric, value in _metrics(run)]
    parameters = [Param(_fit(key), str(value)[:LONGEST]) for key, value in _parameters(run)]
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(name, metrics=metrics[start : start + MOST_METRICS])
    for start in range(0, len(parameters), MOST_PARAMETERS):
        client.log_batch(name, params=parameters[start : start + MOST_PARAMETERS])
    _keep(client, name, run.folder)
    state = {"done": "FINISHED", "interrupted": "KILLED"}.get(status.status, "FAILED")
    client.set_terminated(name, state, end_time=ended)
    return name


def _keep(client: MlflowClient, name: str, folder: Path) -> None:
    for file in ARTEFACTS:
        if (folder / file).is_file():
            client.log_artifact(name, str(folder / file))


def _metrics(run: Run) -> Iterator[tuple[str, float]]:
    """Responses, and the ends of their 95 % intervals."""
    for response, found in run.responses.items():
        yield _fit(response), float(found["value"])
        for end, value in zip(("low", "high"), found.get("ci95") or (), strict=False):
            yield f"{_fit(response)}/ci95_{end}", float(value)


def _parameters(run: Run) -> Iterator[tuple[str, Any]]:
    assigned = run.document("assignment") or {}
    yield "seed", assigned.get("seed", run.status.seed)
    yield from assigned.get("factors", {}).items()


def _fit(name: str) -> str:
    """A name as MLflow allows it."""
    return _UNFIT.sub("_", name.replace("@", "/"))


def _milliseconds(text: str | None) -> int:
    return 0 if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)
