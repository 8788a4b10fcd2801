"""Keeps secrets out of records: what is known or looks like one is replaced before anything is written."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "<hidden>"
"""Written in place of a secret."""
SHORTEST: Final = 6
"""Characters that a value must have to be one: shorter ones stand in every text by chance."""

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET: Final = frozenset({"pass", "credential", "credentials", "auth", "authorization"})
_ENDINGS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey")
_BEFORE_KEY: Final = frozenset({"api", "access", "private", "account", "signing", "encryption", "ssh", "service", "secret", "auth"})
_USER: Final = re.compile(r"(\w[\w+.-]*://)[^/\s@]+@")
_NUMBER: Final = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?\s*[a-z/%²µ]*", re.IGNORECASE)


def names_secret(name: str) -> bool:
    """Whether a variable, an option or a key is named as secrets are: ``AWS_SECRET_ACCESS_KEY``, ``--db-password``, ``apiKey``."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not _SECRET.isdisjoint(words) or any(word.endswith(_ENDINGS) for word in words):
        return True
    return any(last == "key" and before in _BEFORE_KEY for before, last in pairwise(words)) or words == ["key"]


def known_secrets(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Values of variables that are named as secrets are, also as JSON, HTML and URLs write them; longest first."""
    found = os.environ if environment is None else environment
    return _forms(value for name, value in found.items() if names_secret(name) and looks_secret(value))


def secrets_in(overrides: Iterable[str]) -> tuple[str, ...]:
    """Values of settings ``path=value`` that are named as secrets are, in the same forms."""
    pairs = (override.partition("=") for override in overrides)
    return _forms(value for name, _, value in pairs if names_secret(name) and looks_secret(value))


def _forms(secrets: Iterable[str]) -> tuple[str, ...]:
    values = {form for value in secrets for form in (value, json.dumps(value)[1:-1], html.escape(value), quote(value, safe=""))}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def looks_secret(value: str) -> bool:
    """Whether a value under such a name may be one: a flag, a number, a quantity or a path to a socket is none."""
    plain = value.lower() in {"true", "false", "none", "null"} or _NUMBER.fullmatch(value)
    return len(value) >= SHORTEST and not plain and not value.startswith(("/tmp/", "/run/", "/var/run/"))  # noqa: S108 ssh agents


def without(text: str, secrets: Iterable[str]) -> str:
    """A text without known secrets, and without users and passwords of URLs."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _USER.sub(rf"\g<1>{HIDDEN}@", text)


def without_in_arguments(arguments: Sequence[str], secrets: Iterable[str]) -> list[str]:
    """A command line without known secrets, and without values of options and settings that are named as secrets are."""
    known = tuple(secrets)
    found: list[str] = []
    for argument in arguments:
        before = found[-1] if found else ""
        after_option = before.startswith("-") and "=" not in before and names_secret(before)
        found.append(HIDDEN if after_option and not argument.startswith("-") else without(_without_value(argument), known))
    return found


def without_in_document(value: Any, secrets: Iterable[str]) -> Any:
    """Plain data without known secrets, and without texts under keys that are named as secrets are."""
    known = tuple(secrets)
    if isinstance(value, Mapping):
        return {key: _under(str(key), inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_in_document(inner, known) for inner in value]
    return without(value, known) if isinstance(value, str) else value


def _under(key: str, value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str) and names_secret(key) and looks_secret(value):
        return HIDDEN
    return without_in_document(value, known)


def _without_value(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"{name}={HIDDEN}" if equals and names_secret(name) and looks_secret(value) else argument
