"""The pages of the documentation, and the blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<why>.*?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of a page, fenced by three backticks.

    Attributes
    ----------
    why_not
        Why it is not run: what the comment ``<!-- not run: … -->`` in front of it says.
    """

    page: str
    line: int
    language: str
    text: str
    why_not: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return tuple(
        Block(name(page), text.count("\n", 0, found.start("language")) + 1, found["language"], found["text"], found["why"])
        for found in FENCE.finditer(text)
    )


def name(page: Path) -> str:
    """A page as it is called in tests."""
    return page.relative_to(ROOT).as_posix()


def written(page: str, language: str, index: int = 0) -> str:
    """The text of one block, by its place among those of its language."""
    return [block for block in blocks(ROOT / page) if block.language == language][index].text


EVERY = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in EVERY if block.why_not is None]
