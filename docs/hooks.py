"""What the site shows besides ``docs/``: pages and examples from the root of the repository, under the same links.

MkDocs calls these functions by their names (``hooks:`` in ``mkdocs.yml``). Pages link to files as they lie in the repository, so
that they also read well there; a link that leaves ``docs/`` leads to the same file in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "examples/*/*.yaml")
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add what lies beside ``docs/``."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links between ``docs/`` and what lies beside it lead where that is in the site."""
    at = page.file.src_uri
    beside = (ROOT / at).exists()  # then links start from the root, where docs/ is a folder
    folder = posixpath.dirname(at if beside else f"docs/{at}")

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1])).removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(at) or ".")

    return LINK.sub(moved, markdown)
