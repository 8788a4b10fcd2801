"""Avalanche's replay on the tasks of ``benchmarks/rehearsal.py``, which calls this with the interpreter of another environment.

``python rehearsal_avalanche.py TASKS.npz SEED`` prints accuracies on all rows asked and per task, rows per second of wall time
and of processor time, as JSON. Nothing is logged or evaluated while it learns.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
import torch
from avalanche.benchmarks.scenarios.dataset_scenario import benchmark_from_datasets
from avalanche.benchmarks.utils.classification_dataset import _make_taskaware_classification_dataset
from avalanche.benchmarks.utils.data_attribute import DataAttribute
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from avalanche.training.templates import SupervisedTemplate
from torch.utils.data import TensorDataset

warnings.filterwarnings("ignore")


def dataset(x, y):  # type: ignore[no-untyped-def]
    rows = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    targets = DataAttribute(y.tolist(), "targets")
    tasks = DataAttribute([0] * len(y), "targets_task_labels", use_in_getitem=True)
    return _make_taskaware_classification_dataset(rows, targets=targets, task_labels=tasks)


def main() -> None:
    archive, seed = np.load(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(seed)
    np.random.seed(seed)
    count, features, batch = int(archive["tasks"]), archive["x0"].shape[1], int(archive["batch"])
    stream = benchmark_from_datasets(train=[dataset(archive[f"x{i}"], archive[f"y{i}"]) for i in range(count)])
    widths = [features, *archive["hidden"].tolist()]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], int(archive["classes"])))
    size = int(archive["buffer"])
    strategy = SupervisedTemplate(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=float(archive["rate"])),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=batch,
        train_epochs=1,
        plugins=[
            ReplayPlugin(
                mem_size=size, batch_size=batch, batch_size_mem=batch, storage_policy=ReservoirSamplingBuffer(max_size=size)
            )
        ],
        evaluator=EvaluationPlugin(loggers=[]),
    )
    wall, processor = time.perf_counter(), time.process_time()
    for experience in stream.train_stream:
        strategy.train(experience, num_workers=0)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    rows = sum(len(archive[f"y{i}"]) for i in range(count))
    model.eval()
    right, sizes = [], []
    with torch.no_grad():
        for i in range(count):
            answers = model(torch.tensor(archive[f"asked{i}"], dtype=torch.float32)).argmax(1).numpy()
            right.append(float((answers == archive[f"truth{i}"]).mean()))
            sizes.append(len(answers))
    overall = float(np.average(right, weights=sizes))
    print(json.dumps({"accuracy": right, "overall": overall, "wall": rows / wall, "processor": rows / processor}))


if __name__ == "__main__":
    main()
