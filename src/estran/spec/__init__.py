"""The experiment as frozen typed data: reading its file, checking it, and working out its plan."""

from __future__ import annotations

from estran.spec.load import load, load_text
from estran.spec.resolve import plan

__all__ = ["load", "load_text", "plan"]
