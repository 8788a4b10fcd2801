"""Finds components by name, and says what they declare."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError
from estran.learning.mistakes import check_known
from estran.runtime.component import Component, shape
from estran.runtime.life import look_first_in
from estran.spec.index import ComponentFacts
from estran.spec.settings import settings_schema, validate_settings

GROUP: Final = "estran.components"
"""Entry points of this group are components, by name."""


class Components:
    """Built-in and installed components by name, and the user's own as ``module:Class``.

    Parameters
    ----------
    folder
        The experiment file's folder, where the user's modules are looked for first.
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self._folder = str(Path(folder).resolve())
        self._installed: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}

    def names(self) -> Iterable[str]:
        """Names of the built-in and installed components."""
        return sorted(self._installed)

    def path(self, name: str) -> str:
        """Where a component is defined, as ``module:Class``.

        Raises
        ------
        RequestError
            If there is no component of that name.
        """
        if ":" in name:
            return name
        check_known(name, self._installed, kind="component", where=name)
        return self._installed[name].value

    def find(self, name: str) -> type[Component]:
        """Import a component's class.

        Raises
        ------
        RequestError
            If there is no such component, its module cannot be imported, or it is not a `Component`.
        """
        path = self.path(name)
        module, _, attribute = path.partition(":")
        look_first_in(self._folder)
        try:
            found: Any = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            remedy = f"write {error.name}.py beside the experiment file, or install it"
            raise RequestError(f"component {path} cannot be imported: {error}", remedy=remedy) from error
        except (ImportError, AttributeError, SyntaxError) as error:
            raise RequestError(f"component {path} cannot be imported: {error}", remedy=f"mend the module {module}") from error
        except (Exception, SystemExit) as error:
            what = f"component {path} cannot be imported: its module raised {type(error).__name__}: {error}"
            raise RequestError(what, remedy=f"mend the module {module}") from error
        if not (isinstance(found, type) and issubclass(found, Component)):
            raise RequestError(f"{path} is not a component", remedy="derive it from estran.runtime.component.Component")
        return found

    def describe(self, name: str) -> ComponentFacts:
        """Facts of a component, by its name or as ``module:Class``.

        Raises
        ------
        RequestError
            If there is no such component, or it cannot be imported or understood.
        """
        component = self.find(name)
        try:
            form = shape(component)
        except (NameError, TypeError) as error:
            remedy = "annotate ports as Input[...] and Output[...], with types that the module knows"
            raise RequestError(f"the annotations of component {name} cannot be read: {error}", remedy=remedy) from error
        return ComponentFacts(
            inputs={port: _named(payload) for port, payload in form.inputs.items()},
            outputs={port: _named(payload) for port, payload in form.outputs.items()},
            validate=partial(validate_settings, form.settings),
            settings=settings_schema(form.settings),
            summary=(inspect.getdoc(component) or "").split("\n", 1)[0],
            metrics=getattr(component, "METRICS", None),
            faults=component.FAULTS,
        )


def needed_ports(component: type[Component], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Ports of a component that must be connected, given its settings as plain values."""
    return component.needs(converted(component, settings))


def converted(component: type[Component], settings: Mapping[str, Any]) -> Any:
    """A component's settings as it declares them, from plain values that were checked."""
    import msgspec

    return msgspec.convert(dict(settings), shape(component).settings)


def _named(payload: Any) -> str:
    """A payload type's name, the same for the same type only; empty for any."""
    if payload is Any:
        return ""
    return f"{payload.__module__}.{payload.__qualname__}" if isinstance(payload, type) else str(payload)
