"""How long reading an experiment takes, beside reading the same text as bare YAML with the same library.

python benchmarks/spec_load.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from estran.spec import load_text, plan

TEXT = (
    Path(__file__)
    .parents[1]
    .joinpath("docs/reference/experiment-file.md")
    .read_text(encoding="utf-8")
    .split("```yaml\n")[1]
    .split("```")[0]
)
MANY = """\
experiment: many
layers: {edge: {hosts: 1000, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-8}}
network: [{between: [edge, cloud], link: 4g}]
services: {camera: {on: edge, component: source}, trainer: {on: cloud, component: trainer}}
streams: [{from: camera.samples, to: trainer.samples}]
"""


def median(work: Callable[[], object], times: int = 25) -> float:
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spans.append(time.perf_counter() - started)
    return statistics.median(spans)


def imported(module: str) -> float:
    return median(lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True), 7)


def main() -> None:
    load_text(TEXT)
    bare = median(lambda: YAML(typ="safe", pure=True).load(TEXT))
    loaded = median(lambda: load_text(TEXT))
    many = load_text(MANY)
    planned = median(lambda: plan(many), 9)
    empty, spec = imported("sys"), imported("estran.spec")
    print(f"load the example            {loaded * 1e3:7.1f} ms   {loaded / bare:5.2f} x bare YAML ({bare * 1e3:.1f} ms)")
    print(f"plan 1001 hosts, 2000 links {planned * 1e3:7.1f} ms")
    print(f"import estran.spec          {spec * 1e3:7.1f} ms   {spec / empty:5.2f} x an empty Python ({empty * 1e3:.1f} ms)")


if __name__ == "__main__":
    main()
