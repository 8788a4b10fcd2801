"""Boots User-Mode Linux on this machine's own root filesystem (read-only) and runs a Python script in it as root.

It needs no privilege: the guest is a process of this user, and cannot write anywhere but to one folder made for it.
The guest has one CPU, runs several times slower than the machine, and its clock ticks are coarse: measure ratios in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

KERNEL = "linux.uml"
MODULES = Path("/usr/lib/uml/modules")
CHECKOUT = Path(__file__).resolve().parents[2]


class UmlError(AssertionError):
    """The script failed, or the guest did not get to its end."""


def unavailable() -> str | None:
    """Why User-Mode Linux cannot be used here."""
    if shutil.which(KERNEL) is None:
        return f"{KERNEL} is not installed (apt install user-mode-linux)"
    if not list(MODULES.glob("*/modules.dep")):
        return f"no kernel modules for User-Mode Linux in {MODULES}"
    return None


requires_uml = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def run_in_uml(
    script: str, *, modules: Sequence[str] = (), cgroup2: bool = True, timeout: float = 60.0, memory: str = "1024M"
) -> str:
    """Run a Python script in a guest and return what it printed.

    Parameters
    ----------
    script
        Source text. It runs as root with this interpreter, in the checkout, with ``estran`` importable.
    modules
        Kernel modules to load first: ``sch_netem``, ``veth``, …
    cgroup2
        Mount cgroup v2 on ``/sys/fs/cgroup``.
    timeout
        Seconds until the guest is killed.

    Raises
    ------
    UmlError
        If the script exits with another status than 0 or the guest ends early; has the output and the console's tail.
    """
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="estran-uml-") as name:
        share = Path(name)
        (share / "script.py").write_text(script)
        (share / "order.json").write_text(
            json.dumps({"modules": list(modules), "cgroup2": cgroup2, "python": sys.executable, "cwd": str(CHECKOUT)})
        )
        init = share / "init"
        init.write_text(f"#!{sys.executable} -IS\n{Path(__file__).with_name('guest.py').read_text()}")
        init.chmod(0o755)
        ended = _boot(init, share, timeout, memory)
        output = _read(share / "output")
        status = _read(share / "status")
    if status != "0":
        why = (
            f"exited with {status}"
            if status
            else "the guest " + ("ended without a status" if ended else f"was killed after {timeout:g} s")
        )
        raise UmlError(f"script in User-Mode Linux: {why}\n--- output\n{output[-6000:]}\n--- console\n{_console[-2000:]}")
    return output


_console = ""


def _boot(init: Path, share: Path, timeout: float, memory: str) -> bool:
    """Run the guest to its end; False if it had to be killed."""
    global _console
    argv = [
        KERNEL, f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}",
        "con=null", "con0=null,fd:1", "quiet", f"umid=estran-{os.getpid()}-{share.name}", f"uml_dir={share}",
    ]  # fmt: skip
    with (share / "console").open("wb") as console:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(share)},
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        else:
            return True
        finally:
            # The guest's processes are processes here too, all in the group that we made.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _console = _read(share / "console")


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
