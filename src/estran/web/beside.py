"""The page beside a run: a process of its own, so that showing takes nothing from measuring, which ends with the run.

It holds the reading end of a pipe; when the run's process has gone, in whatever way, the pipe ends, and so does the page.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from estran.errors import EstranError

LINGER: Final = 5.0
"""Seconds that the page has to end."""


@contextmanager
def page_beside(root: Path, awaited: str) -> Iterator[str]:
    """Serve the page while the block runs; gives the link that opens it.

    Parameters
    ----------
    root
        Folder of runs.
    awaited
        Key of the run that will begin.

    Raises
    ------
    EstranError
        If the page cannot be served.
    """
    command = [sys.executable, "-m", "estran.web.beside", json.dumps({"root": str(root.absolute()), "awaited": awaited})]
    # In a session of its own, a Ctrl-C that is meant for the run does not end the page before the run.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            link = process.stdout.readline().strip()
            if not link:
                raise EstranError("the live page did not start", where="--watch", remedy="see above; or leave out --watch")
            yield link
        finally:
            process.stdin.close()
            try:
                process.wait(LINGER)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """What runs in the process beside."""
    from estran.web.gate import Access
    from estran.web.server import listen, serve

    asked = json.loads(sys.argv[1])
    with listen(0) as sock:
        access = Access(sock.getsockname()[1])
        print(access.link(f"/run/{asked['awaited']}"), flush=True)
        asyncio.run(serve(sock, access, [Path(asked["root"])], awaited=asked["awaited"], until=_orphaned))


async def _orphaned() -> None:
    """Return when the other end of standard input has gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


if __name__ == "__main__":
    main()
