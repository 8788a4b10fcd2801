"""The examples that come with Estran."""

from __future__ import annotations

import shutil
from pathlib import Path

from estran.errors import RequestError

FILE = "experiment.yaml"


def examples_folder() -> Path:
    """Where the examples are: in the installed package, or beside the sources of a checkout."""
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "examples", package.parent.parent / "examples")
    found = next((folder for folder in candidates if folder.is_dir()), None)
    if found is None:
        raise RequestError("the examples were not installed", where=str(package), remedy="reinstall estran")
    return found


def all_examples() -> dict[str, str]:
    """Names of the examples with their titles."""
    from estran.spec import load

    return {path.parent.name: load(path).title or load(path).name for path in sorted(examples_folder().glob(f"*/{FILE}"))}


def write_example(name: str, folder: Path) -> list[Path]:
    """Copy an example's files into a folder; return where they are now.

    Raises
    ------
    RequestError
        If there is no such example, or a file is there already.
    """
    from estran.spec.suggest import closest

    source = examples_folder() / name
    names = [path.parent.name for path in examples_folder().glob(f"*/{FILE}")]
    if name not in names:
        near = closest(name, names)
        remedy = f"did you mean {near!r}?" if near else "`estran examples` lists them"
        raise RequestError(f"there is no example {name!r}", where="--example", remedy=remedy)
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    targets = [folder / path.relative_to(source) for path in files]
    if taken := [target for target in targets if target.exists()]:
        raise RequestError("is there already and is not overwritten", where=str(taken[0]), remedy="name another folder")
    for path, target in zip(files, targets, strict=True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError as error:
            raise RequestError(f"cannot be written: {error.strerror}", where=str(target), remedy="name another folder") from error
    return targets
