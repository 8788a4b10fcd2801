"""Estran: repeatable experiments with AI workflows across edge, fog, cloud and HPC hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estran.explain.notebook import open_study

__all__ = ["__version__", "open_study"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what notebooks need when they ask for it, so that `import estran` costs nothing."""
    if name == "open_study":
        from estran.explain.notebook import open_study

        return open_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
