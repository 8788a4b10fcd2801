"""Serves one command: reserve, reload, state or destroy."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn, Protocol

from .channel import Channel, Forward
from .failures import Failure, explain
from .persistence import Persistence, limit_waiting

MODULES = {
    "g5k": ("grid5000", "Grid5000"),
    "iotlab": ("iotlab", "IotLab"),
    "chameleon": ("chameleon", "BareMetal"),
    "chameleon-kvm": ("chameleon", "VirtualMachines"),
    "openstack": ("chameleon", "VirtualMachines"),
    "vagrant": ("virtual_machines", "Vagrant"),
}


class Testbed(Protocol):
    """One testbed, as asked for in a request.

    A testbed is made of ``(request, channel, persist)``. Its answers are plain data.
    """

    def state(self) -> list[dict[str, Any]]:
        """The reservations of this name that wait or run."""
        ...

    def reserve(self) -> dict[str, Any]:
        """Reserve and prepare, or take over what has the same name; return ``hosts``, ``idle``, ``jobs`` and ``ends_at``."""
        ...

    def destroy(self) -> list[str]:
        """Give back everything of this name; return what, in words."""
        ...


def main() -> NoReturn:
    """Read the request, serve it, end with 0 if that was done and with 1 if not."""
    orders, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a thread that reads standard input would hold its lock, also in processes that Ansible forks
    os.dup2(2, 1)  # what EnOSlib and Ansible print is no answer
    channel = Channel(os.fdopen(answers, "w", encoding="utf-8"))
    try:
        request = _request(orders)
        threading.Thread(target=_end_with_controller, args=(orders,), daemon=True).start()
        answer = _served(request, channel)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - here everything is reported; EnOSlib calls sys.exit, too
        traceback.print_exc()
        channel.say("failed", begun=channel.begun, undone=channel.undone, **explain(error).details)
        sys.exit(1)
    channel.say("done", **answer)
    sys.exit(0)


def _request(orders: int) -> dict[str, Any]:
    """The one line that comes in."""
    read = b""
    while not read.endswith(b"\n") and (more := os.read(orders, 65536)):
        read += more
    request: dict[str, Any] = json.loads(read)
    return request


def _end_with_controller(orders: int) -> None:
    """Nobody may reserve for a controller that has gone; what is reserved by then, `estran clean` finds by its name."""
    os.read(orders, 1)
    os.killpg(0, signal.SIGKILL)


def _served(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    testbed = _open(request, channel)
    match request["do"]:
        case "state":
            return {"jobs": testbed.state()}
        case "destroy":
            return {"given_back": testbed.destroy()}
        case "reload" if not testbed.state():
            raise Failure("no-resources", f"no reservation called {request['job']!r} waits or runs", "reserve first")
        case "reserve" if request.get("fresh") and testbed.state():
            what = f"your account has a reservation called {request['job']!r} already, which was not made here"
            raise Failure("taken", what, "choose another job:, or give it back where it was made")
        case "reserve" | "reload":
            return _reserved(testbed, request, channel)
    raise Failure("not-built", f"the provisioner cannot {request['do']!r}")


def _reserved(testbed: Testbed, request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Reserve; if that fails, give back what there is of it, which the controller could only do with another process."""
    channel.begun = True
    try:
        answer = testbed.reserve()
        _whole(request, answer)
    except (Exception, SystemExit):
        if request.get("undo"):
            channel.undone = _undone(testbed)
        raise
    return answer


def _undone(testbed: Testbed) -> bool:
    try:
        testbed.destroy()
    except (Exception, SystemExit):  # why the reservation failed matters more; the controller tries again, and tells
        logging.exception("giving back")
        return False
    return True


def _open(request: dict[str, Any], channel: Channel) -> Testbed:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    name, kind = MODULES[request["provider"]]
    try:
        limit_waiting(request.get("answer", 60.0))
        module = importlib.import_module(f"{__package__}.{name}")
    except ImportError as error:
        raise Failure("not-installed", f"EnOSlib's environment lacks what {request['provider']} needs: {error}") from error
    logging.getLogger("enoslib").addHandler(Forward(channel))
    persist = Persistence(channel, request.get("patience", 120.0), request.get("first_pause", 1.0))
    testbed: Testbed = getattr(module, kind)(request, channel, persist)
    return testbed


def _whole(request: dict[str, Any], answer: dict[str, Any]) -> None:
    """EnOSlib is content with fewer nodes than were asked for; an experiment is not."""
    found = [host["layer"] for host in (*answer["hosts"], *answer["idle"])]
    short = {
        layer: (found.count(layer), asked["nodes"])
        for layer, asked in request["layers"].items()
        if found.count(layer) < asked["nodes"]
    }
    if short:
        words = ", ".join(f"{layer} {got} of {asked}" for layer, (got, asked) in short.items())
        lost = answer.get("lost") or []
        named = f"; not usable: {', '.join(lost)}" if lost else ""
        what = f"fewer nodes than were asked for: {words}{named}"
        raise Failure("partial", what, "run it again, or ask for other nodes", lost=lost)
