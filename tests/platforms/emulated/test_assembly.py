"""What an assembly does around its probes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.unprivileged import home, need, through

GROUPS = Path("/proc/self/autogroup")
SCRIPT = """
import os
from pathlib import Path
from estran.platforms.emulated.assembly import _favoured

def change() -> None:
    Path("/proc/self/autogroup").write_text("0")

try:
    change()
    change()
    print("every change")
except BlockingIOError:
    print("not every change")
before = os.getpriority(os.PRIO_PROCESS, 0)
for _ in range(5):
    with _favoured():
        pass
assert os.getpriority(os.PRIO_PROCESS, 0) == before
print("favoured")
"""


@pytest.mark.skipif(not GROUPS.exists(), reason="this kernel groups no processes by session")
def test_without_privilege_probing_goes_on_although_the_kernel_takes_few_changes_of_niceness() -> None:
    need("open")
    with home() as folder:
        done = subprocess.run([*through("open"), sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["not every change", "favoured"], done.stderr
