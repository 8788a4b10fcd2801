from __future__ import annotations

import hashlib
from pathlib import Path

from estran.observe.containers import containers


def engine(folder: Path, name: str = "docker") -> str:
    """A program that knows one image."""
    program = folder / name
    program.write_text('#!/bin/sh\n[ "$5" = "repo/app:1" ] && echo "repo/app@sha256:abc" && exit 0\nexit 1\n')
    program.chmod(0o755)
    return str(program)


def test_the_image_is_asked_for_its_digest(tmp_path: Path) -> None:
    command = [engine(tmp_path), "run", "--rm", "-v", "/a:/b", "--name", "x", "repo/app:1", "python", "x.py"]
    assert containers([command, ["python", "x.py"]]) == {"repo/app:1": "repo/app@sha256:abc"}


def test_an_image_that_nobody_knows_is_named_all_the_same(tmp_path: Path) -> None:
    program = engine(tmp_path, "podman")
    assert containers([[program, "run", "other"]]) == {f"{program} run other": None}
    assert containers([[program, "version"]]) == {}


def test_files_of_apptainer(tmp_path: Path) -> None:
    image = tmp_path / "app.sif"
    image.write_bytes(b"image")
    found = containers([["apptainer", "exec", str(image), "python"], ["singularity", "run", "docker://repo/app@sha256:1"]])
    assert found[str(image)] == "sha256:" + hashlib.sha256(b"image").hexdigest()
    assert found["docker://repo/app@sha256:1"] == "docker://repo/app@sha256:1"
