"""The recommended experiment as a file that runs as it stands: the original with the recommended levels written in."""

from __future__ import annotations

import os
from pathlib import Path

from estran.optimize.answer import Answer
from estran.optimize.folder import Folder
from estran.run.prepare import experiment_folder, read_experiment
from estran.spec import dump
from estran.study.rows import cell


def recommended_text(folder: Folder, found: Answer) -> str:
    """The file's text. Its ``folder:`` leads to the original's, where modules, data and the calibration are."""
    asked = folder.asked
    if found.recommended is None:
        raise ValueError("nothing is recommended")
    levels = dict(found.candidate(found.recommended).levels)
    experiment, _ = read_experiment(asked.file, overrides=asked.overrides, assignment=levels)
    home = os.path.relpath(experiment_folder(asked.file), Path(folder.path).resolve())
    data = {"experiment": experiment.document["experiment"], "folder": home, **experiment.document}
    chosen = " ".join(f"{name}={cell(level)}" for name, level in levels.items())
    head = [f"Recommended by estran optimize: {chosen}", found.sentence, f"Chosen as {found.how}."]
    return "".join(f"# {' '.join(line.split())}\n" for line in head) + dump(data)
