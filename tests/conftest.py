"""Which tests may run beside which: those that only compute, those that mostly wait, and those that need the machine alone.

What computes keeps all processors busy, and runs as long as it takes however slowly. What waits starts hosts, links and programs,
but judges no times that neighbours would spoil: others that wait, and at low priority those that compute, both at the same time.
All else has the machine to itself, and so have tests of these files that are marked ``alone``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.internal.conjecture import providers

_UNTIMED = settings(deadline=None, database=None)  # how long an example takes depends on what else the machine does
_SHRUNK = settings(_UNTIMED, derandomize=True)
settings.register_profile("same", _SHRUNK, phases=(Phase.explicit, Phase.generate))  # shrinking may take five minutes
settings.register_profile("shrunk", _SHRUNK)
settings.register_profile("random", _UNTIMED)
settings.load_profile("same")
"""Hypothesis tries the same examples each time, so that a change fails by what it changes; ``--hypothesis-profile`` has others."""

_constants = providers._get_local_constants
providers._get_local_constants = lambda: providers.Constants() if settings.default.derandomize else _constants()
"""Constants of all modules that happen to be loaded are examples too, but would be others after each change and in each process."""

COMPUTING = (
    "api/",
    "checks/test_experiments.py",
    "checks/test_simulated.py",
    "cli/",
    "components/",
    "docs/",
    "e2clab/test_migrate.py",
    "e2clab/test_plays.py",
    "e2clab/test_plugins.py",
    "e2clab/test_stages.py",
    "explain/",
    "fuzz/test_descriptions.py",
    "fuzz/test_records.py",
    "fuzz/test_wire.py",
    "learning/",
    "observe/calibrate/test_fit.py",
    "observe/calibrate/test_fitting.py",
    "observe/test_containers.py",
    "observe/test_exchange",
    "observe/test_fault_responses.py",
    "observe/test_figures.py",
    "observe/test_installed.py",
    "observe/test_intervals.py",
    "observe/test_live.py",
    "observe/test_manifest.py",
    "observe/test_observed_commands.py",
    "observe/test_packets.py",
    "observe/test_provenance.py",
    "observe/test_queries.py",
    "observe/test_repository.py",
    "observe/test_responses.py",
    "observe/test_sampler.py",
    "observe/test_secrets.py",
    "observe/test_store.py",
    "optimize/",
    "platforms/emulated/limits/test_limits.py",
    "platforms/emulated/network/test_netlink.py",
    "platforms/emulated/links/test_relay_core.py",
    "platforms/emulated/test_assembly.py",
    "platforms/mixed/test_through.py",
    "platforms/remote/test_clocks.py",
    "platforms/remote/test_packing.py",
    "platforms/remote/links/test_arithmetic.py",
    "platforms/emulated/limits/test_rest.py",
    "platforms/simulated/",
    "platforms/slurm/test_file.py",
    "platforms/testbeds/test_file.py",
    "report/",
    "reproduce/",
    "run/test_chaos.py",
    "run/test_conductor.py",
    "run/test_hand.py",
    "run/test_coupled_runs.py",
    "run/test_escapes.py",
    "run/test_faults.py",
    "run/test_flow.py",
    "run/test_machine_load.py",
    "run/test_many_hosts.py",
    "run/test_planted_secrets.py",
    "run/test_served_engine.py",
    "run/test_serving_runs.py",
    "run/test_shared_hosts.py",
    "run/test_simulated_run.py",
    "run/test_wiring.py",
    "runtime/test_clock.py",
    "runtime/test_component.py",
    "runtime/test_coupling.py",
    "runtime/test_delivery.py",
    "runtime/test_life.py",
    "runtime/test_transports.py",
    "runtime/test_wire.py",
    "runtime/test_yielding.py",
    "spec/",
    "study/test_design.py",
    "study/test_engines.py",
    "study/test_lock.py",
    "study/test_study.py",
    "study/test_validation.py",
    "study/test_verdicts.py",
    "study/test_worker.py",
    "tasks/test_any_values.py",
    "tasks/test_task.py",
    "tasks/test_templating.py",
    "test_plug_ins.py",
    "test_supply.py",
    "test_units.py",
    "test_wheel.py",
    "web/",
)
WAITING = (
    "checks/test_hosts_and_clocks.py",
    "checks/test_platforms.py",
    "e2clab/",
    "fuzz/",
    "optimize/test_optimize.py",
    "platforms/emulated/links/test_ladder.py",
    "platforms/emulated/links/test_relays.py",
    "platforms/emulated/network/",
    "platforms/emulated/test_breaking.py",
    "platforms/mixed/",
    "platforms/remote/test_certificates.py",
    "platforms/remote/test_envoy.py",
    "platforms/slurm/",
    "platforms/ssh/",
    "platforms/testbeds/",
    "run/test_commands.py",
    "run/test_emulated_faults.py",
    "run/test_emulated_run.py",
    "run/test_failures.py",
    "run/test_hand.py",
    "run/test_killed.py",
    "run/test_memory_limit.py",
    "run/test_rootless.py",
    "runtime/test_router.py",
    "runtime/test_supervisor.py",
    "study/test_reuse.py",
    "study/test_slurm.py",
    "study/test_study.py",
    "tasks/",
    "test_plug_ins.py",
)
"""Of a file that also computes, only the tests that emulate."""
EMULATING = ("[emulate", "-emulate]", "_emulated_it_", "_an_emulated_", "_a_real_experiment_")
"""Parts of the names of tests that emulate although most of their file computes."""
TOGETHER = {
    "learning": ("docs/", "learning/"),
    "flow": ("cli/test_flow.py", "optimize/test_flow.py", "platforms/simulated/flow/", "run/test_flow.py"),
    "browser": ("report/test_browser.py", "report/test_optimum.py", "report/test_study_page.py", "web/test_browser.py"),
    "slurm": ("study/test_slurm.py", "platforms/mixed/test_slurm.py", "platforms/slurm/"),
    "hosts over ssh": ("platforms/ssh/",),
    "testbeds": ("platforms/testbeds/",),
    "ansible": ("tasks/test_differential.py",),
    "scenarios": ("e2clab/test_run.py",),
    "scenarios over ssh": ("e2clab/test_ssh.py",),
}
"""What needs the same kernels compiled, the same browser or cluster: one process has it, and the tests wait in line behind it. The
first that fits counts."""


def pytest_configure(config: pytest.Config) -> None:
    """Give way as a session too where the process is to: a kernel that groups by session compares those first."""
    group = Path("/proc/self/autogroup")
    if hasattr(config, "workerinput") and os.getpriority(os.PRIO_PROCESS, 0) == 19 and group.exists():
        os.setsid()
        group.write_text("19", encoding="ascii")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``waiting`` or ``alone`` what does not only compute."""
    for item in items:
        if not _computes(item.nodeid) and not item.get_closest_marker("alone"):
            item.add_marker("waiting" if _place(item.nodeid).startswith(WAITING) else "alone")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give to one process what it had better do together; called where tests are run side by side.

    What computes is grouped by file at least, what waits by what it needs only: its tests are long and few.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # marks of groups do not reach xdist 3.8 from pytest 9
        def _split_scope(self, nodeid: str) -> str:
            place = _place(nodeid)
            apart = place if _computes(nodeid) else nodeid
            return next((name for name, places in TOGETHER.items() if place.startswith(places)), apart)

    return Together(config, log)


def _place(nodeid: str) -> str:
    """The file of a test, from the folder of tests."""
    return nodeid.partition("::")[0].removeprefix("tests/")


def _computes(nodeid: str) -> bool:
    name = nodeid.partition("::")[2]
    return _place(nodeid).startswith(COMPUTING) and not any(part in name for part in EMULATING)
