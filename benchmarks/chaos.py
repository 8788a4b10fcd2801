"""Random experiments with random faults in virtual time, and whether what must hold of each run does.

    python benchmarks/chaos.py [--schedules 1000] [--first SEED] [--save FOLDER]

Prints each seed of which something does not hold, what that is, and the experiment made as small as still fails; with --save it is
written there as JSON, for `tests/run/chaos/`. What must hold is in `estran.checks.chaos`. Exit status 1 if anything does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from estran.checks import chaos


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    began, kinds, failed = time.perf_counter(), Counter[str](), 0
    for seed in range(options.first, options.first + options.schedules):
        case = chaos.draw(seed)
        kinds.update(next(kind for kind in fault if kind not in ("at", "random")) for fault in case["faults"].values())
        wrong = chaos.violations(case)
        if not wrong:
            continue
        failed += 1
        small = chaos.shrink(case)
        print(f"seed {seed}: {'; '.join(wrong[:3])}\n  {json.dumps(small)}", flush=True)
        if options.save is not None:
            options.save.mkdir(parents=True, exist_ok=True)
            (options.save / f"{case['experiment']}.json").write_text(json.dumps(small, indent=1) + "\n")
    seconds = time.perf_counter() - began
    told = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    print(f"{options.schedules} schedules in {seconds:.0f} s, {failed} of them failed; faults: {told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
