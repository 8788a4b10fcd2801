"""What an action is given: one task on one host, its expressions evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.tasks.connection import Connection, User
from estran.tasks.errors import EvaluationError
from estran.tasks.filters import to_bool
from estran.tasks.finder import Finder
from estran.tasks.host_state import HostState
from estran.tasks.scope import Scope
from estran.tasks.task import Task

if TYPE_CHECKING:
    from estran.tasks.jobs import Jobs

Found = dict[str, Any]
"""What is registered."""


@dataclass(slots=True)
class Call:
    """One task on one host.

    Attributes
    ----------
    state
        The host that the task is of.
    target
        The host that it is done on, which is another if it is delegated.
    timeout
        Seconds after which it is killed.
    """

    task: Task
    state: HostState
    target: Connection
    scope: Scope
    arguments: dict[str, Any]
    text: str | None
    user: User
    environment: Mapping[str, str]
    finder: Finder
    jobs: Jobs
    timeout: float | None = None
    no_log: bool = False

    async def perform(self, function: str, arguments: Mapping[str, Any], data: bytes = b"") -> Found:
        """Call a function on the host."""
        found, _ = await self.perform_with_bytes(function, arguments, data)
        return found

    async def perform_with_bytes(self, function: str, arguments: Mapping[str, Any], data: bytes = b"") -> tuple[Found, bytes]:
        """Call a function on the host that also returns bytes."""
        return await self.target.perform(
            function, arguments, data, user=self.user, environment=self.environment, timeout=self.timeout
        )

    def flag(self, name: str, default: bool = False) -> bool:
        """Read a switch among the arguments; raises EvaluationError if it is none."""
        value = self.arguments.get(name)
        if value is None:
            return default
        if isinstance(value, str) and value.lower() not in (
            "yes",
            "no",
            "true",
            "false",
            "on",
            "off",
            "1",
            "0",
            "y",
            "n",
            "t",
            "f",
        ):
            raise EvaluationError(f"{name}: {value!r} is neither true nor false", remedy="write true or false")
        return bool(to_bool(value))

    def needed(self, name: str) -> Any:
        """Read an argument that must be given; raises EvaluationError if it is not."""
        value = self.arguments.get(name)
        if value is None:
            raise EvaluationError(f"missing required arguments: {name}", remedy=f"give {name}=")
        return value

    def find(self, kind: str, name: str) -> Path:
        """Find a file of the controller."""
        return self.finder.find(kind, name)


def failure(msg: str, **more: Any) -> Found:
    """What is registered of a failure."""
    return {"failed": True, "msg": msg, **more}
