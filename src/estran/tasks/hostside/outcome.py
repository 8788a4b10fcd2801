"""How functions on a host say that they failed, and how they read their arguments."""

from __future__ import annotations

from typing import Any

TRUE = ("y", "yes", "on", "1", "true", "t")
FALSE = ("n", "no", "off", "0", "false", "f")


class Failed(Exception):  # noqa: N818 - a result, not a defect
    """The task failed; ``result`` is what is registered."""

    def __init__(self, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.result = dict(more, failed=True, msg=msg)


def boolean(arguments: dict[str, Any], name: str, default: bool = False) -> bool:
    """Read a switch as Ansible does."""
    value = arguments.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in TRUE or value == 1:
        return True
    if text in FALSE or value == 0:
        return False
    why = f"The value '{value}' is not a valid boolean."
    raise Failed(f"argument '{name}' is of type {type(value).__name__} and we were unable to convert to bool: {why}")


def number(arguments: dict[str, Any], name: str, default: Any) -> Any:
    """Read a whole number."""
    value = arguments.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Failed(f"argument '{name}' must be a whole number, not {value!r}") from None


def needed(arguments: dict[str, Any], name: str) -> Any:
    """Read what must be given."""
    value = arguments.get(name)
    if value is None:
        raise Failed(f"missing required arguments: {name}")
    return value
