"""What each task of an array job in Slurm runs: its share of a study's runs.

``python -m estran.study.engines.array_task FOLDER``, with the folder that `estran.study.engines.journal` made.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from estran.runtime.threads import ONE_THREAD
from estran.study.worker import serve


def main() -> None:
    """Make the runs of this array task, one after another."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    from estran.study.engines.journal import read

    batch = read(Path(sys.argv[1]))
    if batch.over:
        sys.exit(f"{batch.folder}: the study has given this job up")
    index = int(os.environ["SLURM_ARRAY_TASK_ID"])
    serve(batch.chunk(index), lambda status: print(status, flush=True))


if __name__ == "__main__":
    main()
