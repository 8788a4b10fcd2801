"""A keeper's process as its owner sees it: of no run and of no event loop, so that it may serve one run after another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from estran.platforms.agent_host import AgentHost
from estran.platforms.emulated.leftovers import remove_groups
from estran.runtime.control import Link

EXIT_TIMEOUT: Final = 5.0
AT_ONCE: Final = 128
"""Descriptors that are handed over in one message; the kernel takes 253."""


class Keeping:
    """A keeper at work.

    Parameters
    ----------
    name
        What its processes can be found by, whatever became of their parents.
    folder
        Where its log begins, and where the file lies that its hosts see as ``/etc/hosts`` until it has opened it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._hosts_file = folder / "hosts"
        self._hosts_file.write_text("", encoding="utf-8")
        self._run_id = name
        self._control, control = socket.socketpair()
        self._doors, doors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(control), closing(doors), (folder / "keeper.log").open("ab") as log:
            ends = (control.fileno(), doors.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "estran.platforms.emulated.keeper", *map(str, ends), str(self._hosts_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=ends, start_new_session=True,
                env={**os.environ, "ESTRAN_RUN": name, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    async def connect(self, run_id: str) -> AgentHost:
        """A connection for one run, in the present event loop; the next one may follow when it is closed."""
        self._run_id = run_id
        return AgentHost("keeper", await Link.over(self._control.dup()))

    async def fork_agents(self, keeper: AgentHost, ends: Mapping[str, socket.socket], origin_ns: int) -> None:
        """Have agents forked, each with its end of its connection."""
        hosts = list(ends)
        for start in range(0, len(hosts), AT_ONCE):
            some = hosts[start : start + AT_ONCE]
            socket.send_fds(self._doors, [b"."], [ends[host].fileno() for host in some])
            await keeper.ask("agents", hosts=some, origin_ns=origin_ns)

    def forget_hosts_file(self) -> None:
        """Remove the file that the keeper has opened: nothing but the mount of it is needed any more."""
        self._hosts_file.unlink(missing_ok=True)

    def end(self) -> None:
        """Let it end, and kill it if it does not; with it goes all that it holds."""
        self._doors.close()
        self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        try:
            self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.forget_hosts_file()
        if self._process.returncode != 0:
            remove_groups(self._run_id)
