"""What plug-ins of E2Clab's services find under the names ``e2clab`` and ``enoslib``: as much of both as they need to deploy.

A plug-in is a class that derives from `Service` and has a method ``deploy``, which may do tasks on its hosts and registers them.
Hosts are the run's; tasks are done by `estran.tasks`, from the thread in which the plug-in runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from estran.e2clab.directory import Registered, registered
from estran.errors import EstranError
from estran.spec.e2clab.model import Machine
from estran.spec.e2clab.model import Service as Described
from estran.spec.e2clab.patterns import PatternError, inventory_of, select
from estran.tasks.result import Result

_KEYWORDS: Final = {
    "become", "become_method", "become_user", "changed_when", "environment", "failed_when", "ignore_errors", "loop", "no_log",
    "register", "retries", "until", "vars", "when",
}  # fmt: skip
_NAMES: Final = ("task_name", "display_name")


Asked = list[tuple[int, dict[str, Any]]]
"""Tasks, each with the line of the plug-in that asks for it."""


class Doer(Protocol):
    """Does tasks on hosts, and waits for their end."""

    def __call__(self, asked: Asked, hosts: list[str], variables: Mapping[str, Any], /) -> list[Result]: ...


@dataclass(slots=True)
class Bridge:
    """What a plug-in's thread may ask of the run."""

    do: Doer
    address: Callable[[str], str]


BRIDGE: ContextVar[Bridge] = ContextVar("BRIDGE")


@dataclass(eq=False)
class Host:
    """A host, as EnOSlib has it."""

    address: str
    alias: str
    machine: Machine
    extra: dict[str, Any] = field(default_factory=dict)
    user: str = "root"

    def set_extra(self, **extra: Any) -> Host:
        """Add variables of the host."""
        self.extra.update(extra)
        return self


class Roles(dict[str, list[Host]]):
    """Hosts by role."""

    def all(self) -> list[Host]:
        """Each host once."""
        return list({host.alias: host for hosts in self.values() for host in hosts}.values())


class Service:
    """What a service's plug-in derives from.

    Attributes
    ----------
    hosts, roles
        The machines of the service; ``roles["all"]`` are all of them.
    env, service_metadata
        What `layers_services.yaml` says of it.
    """

    def __init__(self, described: Described, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.roles = Roles({"all": list(hosts)})
        self.env = dict(described.env)
        self.service_metadata = {
            **described.metadata, "_id": f"{described.layer_id}_{described.service_id}", "layer_name": described.layer,
            "layer_id": described.layer_id, "service_id": described.service_id,
        }  # fmt: skip
        self.layer_name, self.layer_id = described.layer, described.layer_id
        self.service_name, self.service_id = described.name, described.service_id
        self.service_extra_info: dict[str, dict[str, Any]] = {}
        self.service_roles = Roles()
        self.logger = logging.getLogger(f"estran.e2clab.{described.key}")
        self._described = described
        self._registered: list[Registered] = []

    def deploy(self) -> Any:
        """Install what the service needs, and register it; plug-ins have their own."""
        raise NotImplementedError

    def register_service(
        self,
        hosts: Iterable[Host] | None = None,
        roles: Roles | Iterable[Host] | None = None,
        service_port: str | int | None = None,
        sub_service: str | None = None,
        extra: Iterable[Mapping[str, Any] | None] | None = None,
        _roles: Roles | Iterable[Host] | None = None,
    ) -> tuple[dict[str, dict[str, Any]], Roles]:
        """Register hosts as the service, or as a part of it; the first releases called ``roles`` ``_roles``.

        Parameters
        ----------
        extra
            What each of the hosts is to tell others beside its address.
        """
        given = hosts or roles or _roles or self.hosts
        chosen = given.all() if isinstance(given, Roles) else list(given)
        found = registered(
            self._described, [host.machine for host in chosen], BRIDGE.get().address,
            port=service_port, sub_service=sub_service, extra=extra or (),
        )  # fmt: skip
        for host, entry in zip(chosen, found, strict=True):
            host.set_extra(_self=dict(entry.own))
            self.service_extra_info[entry.key] = dict(entry.own)
            self.service_roles[entry.key] = [host]
        self._registered += found
        return self.service_extra_info, self.service_roles

    def deploy_docker(self, *_: Any, **__: Any) -> None:
        """Refuse: Estran installs no Docker."""
        raise _not_offered("deploy_docker", "install Docker on the hosts beforehand, or with tasks in deploy()")


def registered_by(service: Service) -> list[Registered]:
    """What a plug-in has registered."""
    return service._registered


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a task did on a host, as EnOSlib has it."""

    host: str
    task: str
    status: str
    payload: Mapping[str, Any]

    @property
    def stdout(self) -> str:
        return str(self.payload.get("stdout", ""))

    @property
    def stderr(self) -> str:
        return str(self.payload.get("stderr", ""))

    @property
    def rc(self) -> int:
        return int(self.payload.get("rc", 0))

    def ok(self) -> bool:
        """Whether it did not fail."""
        return self.status not in ("FAILED", "UNREACHABLE")


class Results(list[CommandResult]):
    """Results of tasks on hosts."""

    def filter(self, **wanted: Any) -> Results:
        """Those with these attributes."""
        return Results(one for one in self if all(getattr(one, key) == value for key, value in wanted.items()))


class actions:  # noqa: N801 - EnOSlib's name
    """Collects tasks, each by calling its module's name, and does them all when the context ends."""

    def __init__(
        self,
        pattern_hosts: str = "all",
        roles: Roles | Iterable[Host] | None = None,
        extra_vars: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self._hosts = chosen(roles, pattern_hosts)
        self._variables = dict(extra_vars or {})
        self._tasks: Asked = []
        self.results = Results()

    def __enter__(self) -> actions:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.results = done(self._tasks, self._hosts, self._variables)

    def __getattr__(self, module: str) -> Callable[..., None]:
        def task(*free: Any, **given: Any) -> None:
            name = next((given.pop(key) for key in _NAMES if key in given), None)
            words = {key: given.pop(key) for key in [*given] if key in _KEYWORDS}
            if given.pop("background", False):
                words |= {"async": 3600, "poll": 0}
            arguments: Any = {"_raw_params": free[0], **given} if free and given else free[0] if free else given
            self._tasks.append((sys._getframe(1).f_lineno, {**({"name": name} if name else {}), module: arguments, **words}))

        return task


def run_command(
    command: str, *, pattern_hosts: str = "all", roles: Any = None, extra_vars: Mapping[str, Any] | None = None, **_: Any
) -> Results:
    """Run a line of a shell on hosts."""
    return done([(sys._getframe(1).f_lineno, {"shell": command})], chosen(roles, pattern_hosts), extra_vars or {})


def run(command: str, roles: Any = None, **given: Any) -> Results:
    """Run a line of a shell on hosts."""
    return done([(sys._getframe(1).f_lineno, {"shell": command})], chosen(roles, given.get("pattern_hosts", "all")), {})


def chosen(roles: Roles | Host | Iterable[Host] | None, pattern: str) -> list[str]:
    """Names of the hosts that are meant; raises EstranError if there are none."""
    if isinstance(roles, Mapping):
        members = {str(role): [host.alias for host in hosts] for role, hosts in roles.items()}
        try:
            return select(pattern, inventory_of(members))
        except PatternError as error:
            raise EstranError(str(error), where="pattern_hosts", remedy=f"roles are {', '.join(members)}") from None
    return [host.alias for host in ([roles] if isinstance(roles, Host) else roles or ())]


def done(tasks: Asked, hosts: list[str], variables: Mapping[str, Any]) -> Results:
    """Do tasks on hosts from a plug-in's thread; raises EstranError if one fails."""
    found = BRIDGE.get().do(tasks, hosts, variables)
    return Results(CommandResult(one.host, one.task, one.status.upper(), one.data) for one in found)


def _not_offered(name: str, remedy: str) -> EstranError:
    return EstranError(f"{name} is not offered to plug-ins", where="plug-in", remedy=remedy)


def missing(module: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that says what is not there."""

    def look_up(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _not_offered(f"{module}.{name}", "plug-ins have Service, Host, Roles, actions, play_on, run_command and run")

    return look_up
