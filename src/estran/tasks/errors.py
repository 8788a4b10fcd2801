"""What can be wrong with a list of tasks before anything has run on a host."""

from __future__ import annotations

from estran.errors import EstranError, RequestError


class TaskError(RequestError):
    """A task is written wrongly, or needs what is not installed; ``where`` is its file and line."""


class EvaluationError(EstranError):
    """A task cannot be done on a host as it is written, an expression of it not evaluated: it fails there."""


class FactsNeeded(Exception):  # noqa: N818 - no error: the play gathers the facts and evaluates again
    """A name was looked up that only the facts of a host can answer."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host
