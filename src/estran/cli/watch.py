"""The verb that shows runs on a page, and the page beside a run."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from estran.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console


def watch(
    what: str | None = None,
    /,
    *,
    port: int = 0,
    browser: bool = True,
    out: Path = Path("runs"),
    metrics_token: Path | None = None,
    terminal: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show runs as they go, finished runs and studies, on a page in the browser, until Ctrl-C.

    The page is for this machine and one browser: it listens on 127.0.0.1, and its link opens once.

    Parameters
    ----------
    what
        A run folder, a run's id (or the beginning of it), or `latest`; a study's folder; or a folder that holds runs and studies.
        The folders `runs` and `studies` here if not given.
    port
        Where to listen on 127.0.0.1; any free port if not given.
    browser
        Whether to open the browser, where there is one.
    out
        Where runs are that are named by their id.
    metrics_token
        File with the token by which Prometheus may read /metrics; it is made if it is not there.
    terminal
        Show one run, the newest if none is named, here on the terminal instead, until it is over.
    """
    if terminal:
        return _on_terminal(what or "latest", out)
    check_installed()
    from rich.console import Console

    from estran.web.gate import Access
    from estran.web.server import listen, scraping_token, serve

    roots, to = _chosen(what, out)
    with listen(port) as sock:
        access = Access(sock.getsockname()[1], scraping_token(metrics_token))
        _show(Console(stderr=True, emoji=False), access.link(to), browser=browser)
        try:
            asyncio.run(serve(sock, access, roots))
        except KeyboardInterrupt:
            return 0
    return 0


def check_installed() -> None:
    """Say at once what the page needs and is not there.

    Raises
    ------
    RequestError
        If the server's packages are not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        what = f"the live page needs {error.name}"
        raise RequestError(what, where="estran watch", remedy="pip install 'estran[web]'") from error


def _on_terminal(run: str, out: Path) -> int:
    from rich.console import Console

    from estran.cli.listing import find_run
    from estran.cli.terminal import follow

    try:
        follow(Console(emoji=False), find_run(run, out))
    except KeyboardInterrupt:
        return 0
    return 0


@contextmanager
def watched(console: Console, folder: Path, out: Path) -> Iterator[None]:
    """Show the run that will have this folder while the block runs."""
    check_installed()  # the process beside will need it; it is better told here
    from estran.web.beside import page_beside
    from estran.web.index import key_of

    with page_beside(out, key_of(folder)) as link:
        _show(console, link, browser=True)
        yield


def _chosen(what: str | None, out: Path) -> tuple[list[Path], str]:
    """Folders to watch, and what to open."""
    from estran.cli.listing import find_run
    from estran.web.index import key_of

    if what is None:
        return [Path("runs"), Path("studies")], "/"
    folder = Path(what)
    for name, kind in (("run.json", "run"), ("study.json", "study")):
        if (folder / name).exists():
            return [folder], f"/{kind}/{key_of(folder)}"
    if folder.is_dir():
        return [folder], "/"
    run = find_run(what, out)
    return [out], f"/run/{key_of(run)}"


def _show(console: Console, link: str, *, browser: bool) -> None:
    console.print(f"the page: {link}", highlight=False, soft_wrap=True, markup=False)
    console.print("  → the link opens once; from another machine: ssh -L PORT:127.0.0.1:PORT", style="dim", highlight=False)
    if browser and _has_display():
        webbrowser.open(link)


def _has_display() -> bool:
    """Whether a browser could open a window; without one it would take the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
