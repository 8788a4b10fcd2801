"""All fuzz tests for as long as you like: how many rounds there were, and every distinct defect once, with its traceback.

``python benchmarks/fuzz.py --minutes 20`` runs ``tests/fuzz`` again and again, each round with another seed and ``--times`` as many
examples as the test suite has. A defect (an exception that is not Estran's own, a hang, memory that grows beyond bounds) does not
end a test: it is written into ``--out``, one file for each place in Estran that it comes from. Status 1 if there is any.

``--guided`` looks for inputs that reach lines of Estran that none reached before (atheris), for the readers of
``benchmarks/guided.py``, ``--minutes`` for all of them together; inputs that were worth keeping are in ``--out`` for the next time.
It needs ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

TARGETS: Final = ("experiment", "e2clab", "messages", "record", "crate", "control")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=20.0)
    asked.add_argument("--times", type=int, default=5)
    asked.add_argument("--only", default="", help="only tests whose names hold this, as pytest -k has it")
    asked.add_argument("--out", type=Path, default=Path("fuzz-found"))
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--guided", action="store_true", help="by coverage; --only is then one of " + ", ".join(TARGETS))
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.guided:
        return guided(options)
    env = {**os.environ, "ESTRAN_FUZZ": str(options.times), "ESTRAN_FUZZ_COLLECT": str(options.out.resolve())}
    only = ["-k", options.only] if options.only else []
    until, rounds, failed = time.monotonic() + 60 * options.minutes, 0, 0
    while rounds == 0 or time.monotonic() < until:
        seed = ["--hypothesis-profile", "random", "--hypothesis-seed", str(options.seed + rounds)]
        program = [sys.executable, "-m", "pytest", "-q", "tests/fuzz", "-p", "no:cacheprovider", "--timeout", "3600", "--tb=short"]
        done = subprocess.run([*program, *seed, *only], env=env, capture_output=True, text=True)
        rounds += 1
        failed += done.returncode != 0
        print(f"round {rounds}: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]}", flush=True)
        if done.returncode:
            (options.out / f"round-{rounds}.log").write_text(done.stdout, encoding="utf-8")
    found = sorted(path.name for path in options.out.iterdir() if not path.name.startswith("round-"))
    print(f"{rounds} rounds of {options.times} times the examples, {failed} with failed tests; {len(found)} distinct defects")
    for name in found:
        print(f"  {name}")
    return 1 if found or failed else 0


def guided(options: argparse.Namespace) -> int:
    """Each target for its share of the time, in a process of its own."""
    if importlib.util.find_spec("atheris") is None:
        sys.exit("guided fuzzing needs atheris: pip install atheris")
    out, failed = options.out.resolve(), 0
    found = out / "defects"
    found.mkdir(exist_ok=True)
    targets = [target for target in TARGETS if options.only in ("", target)]
    for target in targets:
        limits = [
            f"-max_total_time={int(60 * options.minutes / len(targets))}",
            "-len_control=0",
            "-timeout=30",
            "-rss_limit_mb=2048",
        ]
        program = [sys.executable, "benchmarks/guided.py", target, str(out / target), f"-seed={options.seed}", *limits]
        done = subprocess.run(
            [*program, f"-artifact_prefix={out}/{target}-"],
            env={**os.environ, "ESTRAN_FUZZ_COLLECT": str(found)},
            capture_output=True,
            text=True,
            errors="replace",
        )
        failed += done.returncode != 0
        (out / f"{target}.log").write_text(done.stderr, encoding="utf-8")
        ended = [line for line in done.stderr.splitlines() if "\tDONE " in line]
        print(f"{target}: {ended[-1] if done.returncode == 0 and ended else done.stderr[-300:]}", flush=True)
    defects = sorted(path.name for path in found.iterdir())
    print(f"{failed} of {len(targets)} targets ended before their time; {len(defects)} distinct defects", *defects, sep="\n  ")
    return 1 if defects or failed else 0


if __name__ == "__main__":
    sys.exit(main())
