"""Fidelities at which an optimisation makes runs: what ``--on`` and ``--fidelities`` name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estran.errors import RequestError
from estran.run.prepare import is_platform_file


@dataclass(frozen=True, slots=True)
class Fidelity:
    """One rung of the ladder.

    Attributes
    ----------
    name
        Of its study's folder, and in tables: ``flow``, ``simulate``, ``emulate``, or what a platform file is called.
    on
        The platform.
    flow
        Whether runs are simulated by cost models alone.
    """

    name: str
    on: str
    flow: bool = False

    @classmethod
    def read(cls, text: str) -> Fidelity:
        """From the command line: ``flow``, or what ``--on`` takes."""
        if text == "flow":
            return cls("flow", "simulate", True)
        if is_platform_file(text):
            return cls(Path(text).stem, str(Path(text).resolve()))
        return cls(text.replace(":", "-"), text)

    @property
    def virtual(self) -> bool:
        """Whether its runs go on in virtual time."""
        return self.on.partition(":")[0] == "simulate"

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "on": self.on, "flow": self.flow}


def ladder(texts: list[str]) -> tuple[Fidelity, ...]:
    """Several, cheapest first; the last one is what counts.

    Raises
    ------
    RequestError
        If two have one name, or one has none.
    """
    if not all(texts):
        remedy = "write for example --fidelities simulate,emulate"
        raise RequestError("between commas stands nothing", where="--fidelities", remedy=remedy)
    found = tuple(map(Fidelity.read, texts))
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RequestError(f"{twice} is named twice", where="--fidelities", remedy="name each once, the cheapest first")
    return found
