"""What can go wrong on a testbed, as data: a kind that programs can tell apart, a sentence, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

ATTRIBUTES = ("response_code", "http_status", "status_code", "code")
"""Where clients of testbeds keep the HTTP status in their exceptions."""
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses after which the same request may well succeed."""
UNANSWERED = {
    "ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "RetryError", "ConnectFailure", "ConnectTimeoutError",
    "SSLError", "ChunkedEncodingError", "TimeoutError", "ConnectionRefusedError", "ConnectionResetError", "MaxRetryError",
}  # fmt: skip
"""Exceptions that say that no answer came."""


class Failure(Exception):  # noqa: N818 - it is data on its way
    """Something that the user must know.

    Parameters
    ----------
    kind
        ``credentials``, ``configuration``, ``no-resources``, ``too-late``, ``job-ended``, ``deployment``, ``partial``,
        ``unreachable``, ``api``, ``refused``, ``not-built`` or ``defect``.
    """

    def __init__(self, kind: str, what: str, remedy: str = "", **more: Any) -> None:
        super().__init__(what)
        self.details = {"kind": kind, "what": what, "remedy": remedy, **more}


class Sign(NamedTuple):
    """A text by which a testbed says what is wrong."""

    pattern: str
    kind: str
    what: str
    remedy: str


SIGNS = (
    Sign(
        r"could run at (?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", "too-late",
        "the nodes are not free at that time; they would be from {when} (Paris time)", "ask for another start, or for fewer nodes",
    ),
    Sign(r"Reservation too old", "too-late", "the start that was asked for is in the past", "ask for a later start"),
    Sign(r"Image (?P<image>.*) is missing", "configuration", "the site has no image {image!r}", "choose one of its images"),
    Sign(
        r"No slot found|Unable to start the providers", "no-resources",
        "there is no time within two hours at which all sites have their nodes free", "ask for fewer nodes",
    ),
    Sign(
        r"not enough resources|No valid host|NoValidHost|Not enough hosts|Invalid nodes state|not enough nodes"
        r"|not enough alive",
        "no-resources", "the testbed has not as many nodes as were asked for: {said}", "ask for fewer nodes, or for others",
    ),
    Sign(
        r"[Qq]uota|exceeds? .*walltime|Walltime too big|ADMISSION RULE", "refused",
        "the testbed's rules do not allow this: {said}", "ask for less, or at another time",
    ),
)  # fmt: skip


def explain(error: BaseException) -> Failure:
    """Say in our words what an exception of EnOSlib or of the clients below it means."""
    chain = list(causes(error))
    for one in chain:
        if isinstance(one, Failure):
            return one
    said = next((text for one in chain if (text := _text(one))), type(error).__name__)
    for one in chain:
        for sign in SIGNS:
            found = re.search(sign.pattern, _text(one))
            if found:
                return Failure(sign.kind, sign.what.format(said=said, **found.groupdict()), sign.remedy, **found.groupdict())
    return (
        _by_status(chain, said)
        or _by_name(chain, said)
        or Failure("defect", f"{type(error).__name__}: {said}", "the provisioner's log has the details")
    )


def _by_status(chain: list[BaseException], said: str) -> Failure | None:
    status = next((found for one in chain if (found := status_of(one))), None)
    if status in (401, 403):
        return Failure("credentials", f"the testbed does not accept the user's name and password ({status})", "check them")
    if status in TRANSIENT:
        return Failure("api", f"the testbed's API keeps answering {status}: {said}", "try again later")
    if status is not None:
        return Failure("refused", f"the testbed refused the request ({status}): {said}", "check what is asked for")
    return None


def _by_name(chain: list[BaseException], said: str) -> Failure | None:
    names = {type(one).__name__ for one in chain}
    if names & {"Unauthorized", "Grid5000AuthenticationError"}:
        return Failure("credentials", "the testbed does not accept the user's name and password", "check them")
    if names & UNANSWERED:
        return Failure("api", f"the testbed's API does not answer: {said}", "check the network, or try again later")
    if names & {"EnosUnreachableHostsError", "EnosSSHNotReady"}:
        return Failure("unreachable", f"nodes cannot be reached over SSH: {_hosts(chain)}", "check your SSH key on the testbed")
    if names & {"EnosFailedHostsError"}:
        return Failure("deployment", f"nodes could not be prepared: {_hosts(chain)}", "the provisioner's log has the details")
    if names & {"ValidationError", "ValueError", "EnosG5kInvalidArgumentsError", "EnosIotLabPhysicalNodesError"}:
        return Failure("configuration", f"EnOSlib does not take what is asked for: {said}", "check the platform file")
    return None


def _hosts(chain: list[BaseException]) -> str:
    named = [str(getattr(host, "host", host)) for one in chain for host in getattr(one, "hosts", [])]
    return ", ".join(sorted(set(named))) or "which, EnOSlib does not say"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those behind it; ``iotlabcli`` hides one in the arguments of another."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        hidden = [part for argument in one.args if isinstance(argument, tuple) for part in argument]
        waiting += [part for part in (*one.args, *hidden) if isinstance(part, BaseException)]
        waiting += [one.__cause__, one.__context__]


def status_of(error: BaseException) -> int | None:
    """The HTTP status in an exception, if it has one."""
    for holder in (error, getattr(error, "response", None)):
        for name in ATTRIBUTES:
            value = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None


def transient(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment; never so for what we, or the testbed, say in words."""
    chain = list(causes(error))
    if any(isinstance(one, Failure) or any(re.search(sign.pattern, _text(one)) for sign in SIGNS) for one in chain):
        return False
    statuses = [status for one in chain if (status := status_of(one))]
    return statuses[0] in TRANSIENT if statuses else any(type(one).__name__ in UNANSWERED for one in chain)


def _text(error: BaseException) -> str:
    """What an exception says, on one line, shortened; some say nothing but bytes or a ``msg``."""
    said = getattr(error, "msg", None) or getattr(error, "error_message", None) or str(error)
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return " ".join(text.split())[:400]
