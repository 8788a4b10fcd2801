"""Which tests may run beside others: those that only compute. All else starts hosts, links and programs whose timing matters."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
COMPUTING = (
    "checks/test_experiments.py",
    "checks/test_simulated.py",
    "cli/",
    "components/",
    "docs/",
    "explain/",
    "learning/",
    "observe/calibrate/test_fit.py",
    "observe/test_exchange",
    "observe/test_intervals.py",
    "observe/test_packets.py",
    "observe/test_queries.py",
    "observe/test_responses.py",
    "platforms/simulated/",
    "report/",
    "run/test_coupled_runs.py",
    "run/test_escapes.py",
    "run/test_flow.py",
    "run/test_serving_runs.py",
    "run/test_shared_hosts.py",
    "run/test_simulated_run.py",
    "run/test_wiring.py",
    "spec/",
    "study/test_design.py",
    "study/test_engines.py",
    "study/test_study.py",
    "study/test_verdicts.py",
    "tasks/test_any_values.py",
    "tasks/test_task.py",
    "tasks/test_templating.py",
    "test_units.py",
)
MARKS = ("browser", "root", "uml")
TOGETHER = {
    "linear": ("docs/", "learning/active/", "learning/averaging/", "learning/linear/"),
    "learning": ("learning/",),
    "flow": ("cli/test_flow.py", "platforms/simulated/flow/", "run/test_flow.py"),
}
"""What needs the same kernels compiled: one process does that, and the tests wait in line behind it. The first that fits counts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``alone`` what must have the machine to itself, and group by file what may run beside others."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix() if item.path.is_relative_to(ROOT) else ""
        emulates = "emulate" in item.name
        if emulates or not place.startswith(COMPUTING) or any(item.get_closest_marker(mark) for mark in MARKS):
            item.add_marker("alone")
        group = next((name for name, places in TOGETHER.items() if place.startswith(places)), place)
        item.add_marker(pytest.mark.xdist_group(group))
