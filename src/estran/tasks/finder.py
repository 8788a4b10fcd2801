"""Where the files are that tasks name: beside the list of tasks, and in its ``files`` and ``templates``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from estran.tasks.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds files of the controller.

    Attributes
    ----------
    folders
        In the order in which they are searched.
    """

    folders: tuple[Path, ...]

    def near(self, folder: Path) -> Finder:
        """Search a folder before the others."""
        return self if folder in self.folders[:1] else Finder((folder, *self.folders))

    def places(self, kind: str, name: str) -> list[Path]:
        """All places where a file may be; ``kind`` names the folder for such files (``files``, ``templates``, ``vars``)."""
        path = Path(os.path.expanduser(name))  # noqa: PTH111 - an unknown user's ~ stays as it is
        if path.is_absolute():
            return [path]
        return [place / path for folder in self.folders for place in ((folder / kind, folder) if kind else (folder,))]

    def find(self, kind: str, name: str) -> Path:
        """Find a file or folder; raises EvaluationError, naming where it was looked for."""
        places = self.places(kind, name)
        for place in places:
            if place.exists():
                return place
        looked = ", ".join(str(place) for place in dict.fromkeys(places))
        raise EvaluationError(f"Could not find or access '{name}'; looked for {looked}", remedy="put the file beside the tasks")

    def home(self) -> Path:
        """Where relative paths of the controller begin."""
        return self.folders[0] if self.folders else Path.cwd()


def as_folders(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Absolute, each once."""
    return tuple(dict.fromkeys(folder.absolute() for folder in folders))
