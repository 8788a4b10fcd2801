"""All fuzz tests for as long as you like: how many rounds there were, and every distinct defect once, with its traceback.

``python benchmarks/fuzz.py --minutes 20`` runs ``tests/fuzz`` again and again, each round with another seed and ``--times`` as many
examples as the test suite has. A defect (an exception that is not Estran's own, a hang, memory that grows beyond bounds) does not
end a test: it is written into ``--out``, one file for each place in Estran that it comes from. Status 1 if there is any.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=20.0)
    asked.add_argument("--times", type=int, default=5)
    asked.add_argument("--only", default="", help="only tests whose names hold this, as pytest -k has it")
    asked.add_argument("--out", type=Path, default=Path("fuzz-found"))
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
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


if __name__ == "__main__":
    sys.exit(main())
