"""Where modules of experiments are looked for, and which are forgotten."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from estran.runtime.life import look_first_in


def test_modules_of_another_folder_are_forgotten_but_not_what_lies_below_it_by_another_way(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, said in ((one, 1), (other, 2)):
        folder.mkdir()
        (folder / "spoken.py").write_text(f"SAID = {said}")
    (one / "lib").mkdir()
    (one / "lib" / "library.py").write_text("")
    sys.path.append(str(one / "lib"))
    try:
        look_first_in(str(one))
        assert importlib.import_module("spoken").SAID == 1
        library = importlib.import_module("library")
        look_first_in(str(other))
        assert importlib.import_module("spoken").SAID == 2
        assert importlib.import_module("library") is library
    finally:
        sys.path.remove(str(one / "lib"))
        look_first_in(str(tmp_path))
        sys.path.remove(str(tmp_path))
        sys.modules.pop("library", None)
