"""The experiment as frozen typed data: reading its file, checking it, and working out its plan."""

from __future__ import annotations

from estran.spec.document import dump
from estran.spec.index import ComponentFacts, ComponentIndex, Fault
from estran.spec.json_schema import json_schema
from estran.spec.load import base_folder, check_levels, load, load_text
from estran.spec.resolve import plan
from estran.spec.settings import settings_schema, validate_settings

__all__ = [
    "ComponentFacts",
    "ComponentIndex",
    "Fault",
    "base_folder",
    "check_levels",
    "dump",
    "json_schema",
    "load",
    "load_text",
    "plan",
    "settings_schema",
    "validate_settings",
]
