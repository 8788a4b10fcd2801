"""EnOSlib's environment: a virtual environment of its own, since EnOSlib pins libraries that Estran must not depend on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from estran.errors import PlatformError, RequestError

ENOSLIB = "10.9.0"
VARIABLE = "ESTRAN_TESTBEDS"
"""Environment variable: the folder of EnOSlib's environment, if not the usual one."""
MARK = "estran-testbeds.json"
EXTRAS = {
    "g5k": (),
    "iotlab": ("iotlab",),
    "chameleon": ("chameleon",),
    "chameleon-kvm": ("chameleon",),
    "openstack": ("chameleon",),
    "vagrant": ("vagrant",),
}
"""EnOSlib's extras that each provider needs."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is there: its Python, EnOSlib's version, the extras it was installed with."""

    python: Path
    enoslib: str
    extras: frozenset[str]

    def provides(self, provider: str) -> bool:
        """Whether it has all that a provider needs."""
        return set(EXTRAS[provider]) <= self.extras


def environment_folder() -> Path:
    """Where the environment is: ``$ESTRAN_TESTBEDS``, else ``$XDG_DATA_HOME/estran/testbeds``."""
    chosen = os.environ.get(VARIABLE)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(chosen) if chosen else Path(data) / "estran" / "testbeds"


def installed() -> Environment | None:
    """The environment, if it was installed to its end."""
    folder = environment_folder()
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    python = folder / "bin" / "python"
    return Environment(python, mark["enoslib"], frozenset(mark["extras"])) if python.exists() else None


def required(provider: str) -> Environment:
    """The environment with all that a provider needs.

    Raises
    ------
    PlatformError
        If it is not installed, or has another EnOSlib than this version of Estran was made for.
    """
    found, command = installed(), install_command(provider)
    if found is None:
        raise PlatformError("testbeds are not installed", where=provider, remedy=f"run `{command}`")
    if found.enoslib != ENOSLIB:
        raise PlatformError(f"EnOSlib {found.enoslib} is installed, {ENOSLIB} is needed", where=provider, remedy=f"run `{command}`")
    if not found.provides(provider):
        raise PlatformError(f"testbeds are installed without {provider}", where=provider, remedy=f"run `{command}`")
    return found


def install_command(provider: str) -> str:
    """The command that installs what a provider needs."""
    return f"estran testbeds install --with {provider}" if EXTRAS[provider] else "estran testbeds install"


def install(providers: Sequence[str], report: Callable[[str], None]) -> Environment:
    """Make the environment, or add to it what more providers need.

    Parameters
    ----------
    report
        Is told what is being done.

    Raises
    ------
    RequestError
        If there is no such provider.
    PlatformError
        If it cannot be made.
    """
    for provider in providers:
        if provider not in EXTRAS:
            raise RequestError(f"there is no testbed {provider!r}", where="--with", remedy=f"choose of {', '.join(EXTRAS)}")
    folder, before = environment_folder(), installed()
    had = before.extras if before is not None else frozenset()
    extras = sorted(had | {extra for provider in providers for extra in EXTRAS[provider]})
    (folder / MARK).unlink(missing_ok=True)
    if before is None:
        report(f"making {folder}")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    wanted = f"enoslib[{','.join(extras)}]=={ENOSLIB}" if extras else f"enoslib=={ENOSLIB}"
    report(f"installing {wanted}")
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted])
    (folder / MARK).write_text(json.dumps({"enoslib": ENOSLIB, "extras": extras}), encoding="utf-8")
    return Environment(folder / "bin" / "python", ENOSLIB, frozenset(extras))


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-5:]) or "no reason given"
        raise PlatformError(f"{' '.join(argv[1:4])} failed: {said}", where=argv[0], remedy="see whether packages can be downloaded")
