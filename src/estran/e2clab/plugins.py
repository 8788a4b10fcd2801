"""Plug-ins of services: found in the folder ``services`` of a scenario or of its artifacts, and run before the first stage."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from estran.e2clab import stand_ins
from estran.e2clab.directory import Directory, registered
from estran.e2clab.stages import failure
from estran.e2clab.stand_ins import BRIDGE, Asked, Bridge, Host, Service, registered_by
from estran.errors import EstranError, RequestError, ServiceError, Where
from estran.platforms.remote.host import RemoteHost
from estran.spec.e2clab.model import Scenario
from estran.spec.e2clab.model import Service as Described
from estran.spec.marks import Marks
from estran.tasks.result import Result
from estran.tasks.runner import run_tasks

FOLDER: Final = "services"
_E2CLAB: Final = ("e2clab", "e2clab.services", "e2clab.services.service")
_ENOSLIB: Final = ("enoslib", "enoslib.api", "enoslib.objects")
_OFFERED: Final[Mapping[str, Any]] = {
    "Host": stand_ins.Host, "Roles": stand_ins.Roles, "actions": stand_ins.actions, "play_on": stand_ins.actions,
    "run_command": stand_ins.run_command, "run": stand_ins.run,
}  # fmt: skip


def find_plugins(scenario: Scenario, artifacts: Path) -> dict[str, Path]:
    """Files of plug-ins by the name of their service."""
    names = {service.name for service in scenario.services}
    places = (scenario.folder / FOLDER, artifacts / FOLDER)
    return {name: path for name in names for place in reversed(places) if (path := place / f"{name}.py").exists()}


async def deploy(
    scenario: Scenario,
    plugins: Mapping[str, Path],
    hosts: Mapping[str, RemoteHost],
    address: Callable[[str], str],
    on_result: Callable[[Result], None],
) -> Directory:
    """Have every service registered, by its plug-in if it has one.

    Raises
    ------
    EstranError
        If a plug-in cannot be loaded, fails or registers nothing.
    """
    directory = Directory()
    loop = asyncio.get_running_loop()
    for service in scenario.services:
        if service.name not in plugins:
            directory.add(registered(service, service.machines, address))
            continue
        path = plugins[service.name]

        def do(asked: Asked, names: list[str], variables: Mapping[str, Any], path: Path = path) -> list[Result]:
            work = _done(path, asked, {name: hosts[name] for name in names}, variables, on_result)
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        BRIDGE.set(Bridge(do, address))
        made = await asyncio.to_thread(_deployed, path, service, address)
        directory.add(registered_by(made))
    return directory


async def _done(
    path: Path,
    asked: Asked,
    hosts: Mapping[str, RemoteHost],
    variables: Mapping[str, Any],
    on_result: Callable[[Result], None],
) -> list[Result]:
    tasks = [task for _, task in asked]
    marks = Marks(str(path), keys={(index,): (line, 1) for index, (line, _) in enumerate(asked)})
    told = dict.fromkeys(hosts, variables)
    report = await run_tasks(tasks, hosts, marks=marks, variables=told, folders=(path.parent,), on_result=on_result)
    if report.failed:
        raise failure(report.failed.values())
    return report.results


def _deployed(path: Path, service: Described, address: Callable[[str], str]) -> Service:
    """Load a plug-in and let it deploy, in a thread of its own."""
    with _names():
        kind = _loaded(path, service.name)
        made = kind(service, [Host(address(machine.host), machine.host, machine) for machine in service.machines])
        try:
            made.deploy()
        except EstranError:
            raise
        except Exception as error:
            raise ServiceError(_told(error), where=_raised_at(error, path), remedy="correct the plug-in") from error
    if not registered_by(made):
        raise ServiceError(
            f"the plug-in of {service.name} has registered nothing", where=str(path), remedy="call self.register_service()"
        )
    return made


def _loaded(path: Path, name: str) -> type[Service]:
    module = ModuleType(f"e2clab_plugin_{name}")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own plug-in
    except EstranError:
        raise
    except SyntaxError as error:
        raise RequestError(f"is no Python: {error.msg}", where=Where(str(path), error.lineno), remedy="correct it") from None
    except Exception as error:
        raise RequestError(_told(error), where=_raised_at(error, path), remedy="correct the plug-in") from error
    found = getattr(module, name, None)
    if not isinstance(found, type) or not issubclass(found, Service):
        raise RequestError(
            f"has no class {name} that derives from Service", where=str(path), remedy=f"write class {name}(Service): …"
        )
    return found


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _raised_at(error: BaseException, path: Path) -> Where:
    """The last line of the plug-in that led to an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return Where(str(path), lines[-1] if lines else None)


@contextmanager
def _names() -> Iterator[None]:
    """The stand-ins under the names that plug-ins import, for as long as one of them runs."""
    before = {name: sys.modules.get(name) for name in (*_E2CLAB, *_ENOSLIB)}
    for names, offered in ((_E2CLAB, {"Service": Service}), (_ENOSLIB, _OFFERED)):
        _install(names, offered)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _install(names: Sequence[str], offered: Mapping[str, Any]) -> None:
    for name in names:
        module = ModuleType(name)
        module.__dict__.update(offered, __path__=[], __getattr__=stand_ins.missing(name))
        sys.modules[name] = module
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
