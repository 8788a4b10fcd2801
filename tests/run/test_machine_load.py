"""The warning that a machine had no processor to spare."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.run.machine_load import MachineLoad


def write(stat: Path, busy: int, idle: int) -> None:
    stat.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")


def test_saturated_moments_are_counted_and_told(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    write(stat, 0, 0)
    load = MachineLoad(stat)
    for moment in range(1, 11):
        write(stat, busy=100 * min(moment, 4), idle=100 * max(moment - 4, 0))
        load.look()
    assert load.mean == pytest.approx(0.4)
    assert load.warning is not None
    assert "40%" in load.warning


def test_a_machine_with_processors_to_spare_gives_no_warning(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    write(stat, 0, 0)
    load = MachineLoad(stat)
    assert load.mean is None
    for moment in range(1, 11):
        write(stat, busy=80 * moment, idle=20 * moment)
        load.look()
    assert load.mean == pytest.approx(0.8)
    assert load.warning is None


def test_the_real_file_is_understood() -> None:
    load = MachineLoad()
    deadline = 100_000
    while load.mean is None and (deadline := deadline - 1):
        load.look()
    assert load.mean is not None
    assert 0 <= load.mean <= 1
