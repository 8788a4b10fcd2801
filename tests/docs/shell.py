"""Does what the blocks of pages say: ``estran`` in this process and with short runs, all else in a shell."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

from cyclopts import CycloptsError

from estran.cli.main import app
from estran.errors import EstranError
from tests.docs.pages import ROOT

QUIET = {"exit_on_error": False, "print_error": False}


@dataclass(frozen=True)
class Told:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


def commands(block: str) -> Iterator[str]:
    """Its commands, without comments; a line that ends in a backslash goes on."""
    for line in block.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            yield re.sub(r"\s+# .*$", "", line)


def arguments(command: str) -> list[str]:
    """What is handed to ``estran``: words up to the first redirection or pipe."""
    words = shlex.split(command)
    end = next((place for place, word in enumerate(words) if word in (">", "|", "&&")), len(words))
    return words[1:end]


def understood(command: str) -> None:
    """Let the command line read a command, options and types and all, without doing it."""
    app.parse_args(arguments(command), **QUIET)


class Shell:
    """A folder in which blocks are run one after another.

    What would emulate simulates instead, searches make five runs, studies two of each point, one after another, and no more than
    two further ones are asked for. All else is done as it is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, block: str) -> list[Told]:
        """Do all commands of a block; each must end well."""
        return [self.does(command) for command in commands(block)]

    def does(self, command: str, *, status: int = 0) -> Told:
        """Do one command, which must end with a status."""
        program = shlex.split(command)[0]
        if program == "estran":
            told = self._estran(command)
        elif program == "pip":
            told = _extras_there(command)
        elif program == "make":
            told = _shell(command.replace("make", "make -n", 1), ROOT)  # what it would do
        else:
            told = _shell(command, self.folder)
        assert told.status == status, f"{command}: {told.status}\n{told.out}\n{told.err}"
        return told

    def _found(self, word: str) -> list[str]:
        """What a shell makes of a word with a star."""
        paths = sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(word)) if "/*" in word else []
        return paths or [word]

    def _estran(self, command: str) -> Told:
        words = [found for word in arguments(command) for found in self._found(word)]
        told = estran(_short(words), self.folder)
        rest = re.search(r"\s(>|\|)\s*(.*)$", command)
        if rest and rest[1] == ">":
            (self.folder / rest[2].strip()).write_text(told.out)
        elif rest and told.status == 0:
            return _shell(rest[2], self.folder, told.out)
        return told


def estran(words: list[str], folder: Path) -> Told:
    """Do what ``estran`` does with these words in a folder, in this process, which has imported everything before."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = app(words, **QUIET, result_action="return_value")
        except CycloptsError as error:
            status = 2
            err.write(str(error))
        except EstranError as error:
            status = error.exit_code
            err.write(str(error))
        except SystemExit as ended:
            status = ended.code
    return Told(status if isinstance(status, int) else 0, out.getvalue(), err.getvalue())


def _short(words: list[str]) -> list[str]:
    verb = words[0]
    if verb in ("run", "study") and "--on" not in words:
        words = [*words, "--on", "simulate"]
    if verb == "study" and "--replicates" not in words:
        words = [*words, "--replicates", "2"]
    if verb in ("study", "optimize"):
        words = [*words, "--jobs", "1"]
    for option, few in (("--trials", "5"), ("--next-runs", "2"), ("--replicates", "2")):
        if option in words:
            words[words.index(option) + 1] = few
    return words


def _extras_there(command: str) -> Told:
    asked = {extra for names in re.findall(r"estran\[([\w,]+)\]", command) for extra in names.split(",")}
    missing = asked - set(metadata("estran").get_all("Provides-Extra") or ())
    return Told(int(bool(missing) or not asked), "", f"no extra {', '.join(sorted(missing))}" if missing else "")


def _shell(command: str, folder: Path, given: str = "") -> Told:
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Told(ended.returncode, ended.stdout, ended.stderr)
