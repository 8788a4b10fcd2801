"""Secrets of the environment, of options and of URLs, which a component even puts into its own error: only its log has them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.run.experiments import estran, run_folder

PARTS = """
import os
from dataclasses import dataclass
from estran.runtime.component import Component

@dataclass(frozen=True)
class Settings:
    database: str = ""
    token: str = ""

class Failing(Component):
    settings: Settings

    async def run(self) -> None:
        await self.clock.sleep(0.2)
        said = f"{os.environ['DB_PASSWORD']}, {self.settings.token}, at {self.settings.database}"
        print(said)
        raise ValueError(said)
"""
EXPERIMENT = """
experiment: leaky
layers: {edge: {hosts: 1, device: cloud-vm-2}}
services:
  a: {on: edge, component: "parts:Failing", with: {database: "postgres://me:planted-in-url@db/x"}}
measure: {warmup: 0.1s, duration: 1s}
"""
PLANTED = ("planted-in-environment", "planted-in-option", "planted-in-url")


def test_planted_secrets_are_in_the_log_alone(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    options = ("run", "experiment.yaml", "--on", "simulate", "--set", "services.a.with.token=planted-in-option")
    done = estran(*options, cwd=tmp_path, env={"DB_PASSWORD": "planted-in-environment"})
    assert done.returncode == 1, done.stderr
    folder = run_folder(tmp_path)
    log = (folder / "logs" / "a-0.log").read_bytes()
    assert all(secret.encode() in log for secret in PLANTED)  # so it was said
    texts = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}
    texts |= {"standard output": done.stdout.encode(), "standard error": done.stderr.encode()}
    texts |= {verb: estran(verb, cwd=tmp_path).stdout.encode() for verb in ("show", "ls")}
    told = re.compile("|".join(PLANTED).encode())
    assert {name for name, text in texts.items() if told.search(text)} == set()
    assert b"&lt;hidden&gt;" in texts["report.html"]
