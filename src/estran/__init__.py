"""Estran: repeatable experiments with AI workflows across edge, fog, cloud and HPC hosts.

For scripts and notebooks: `load` an experiment, `run` it, `study` it, `explain` a study, `optimize`; `open_run` and `open_study`
open what was made before.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from estran.api.experiments import Experiment, load
    from estran.api.explaining import Explanation, explain
    from estran.api.optimising import Optimisation, optimize
    from estran.api.runs import Run, RunFailedError, open_run, run
    from estran.api.studies import Study, open_study, study
    from estran.errors import EstranError

__all__ = [
    "EstranError",
    "Experiment",
    "Explanation",
    "Optimisation",
    "Run",
    "RunFailedError",
    "Study",
    "__version__",
    "explain",
    "load",
    "open_run",
    "open_study",
    "optimize",
    "run",
    "study",
]

__version__ = "0.1.0"

_HOMES: Final = {
    "EstranError": "estran.errors",
    "Experiment": "estran.api.experiments",
    "Explanation": "estran.api.explaining",
    "Optimisation": "estran.api.optimising",
    "Run": "estran.api.runs",
    "RunFailedError": "estran.api.runs",
    "Study": "estran.api.studies",
    "explain": "estran.api.explaining",
    "load": "estran.api.experiments",
    "open_run": "estran.api.runs",
    "open_study": "estran.api.studies",
    "optimize": "estran.api.optimising",
    "run": "estran.api.runs",
    "study": "estran.api.studies",
}
_PACKAGES: Final = ("explain", "optimize", "run", "study")
"""Functions whose name a package has, too."""


class _Verb(ModuleType):
    """A package that is called as the function of its name: `estran.run` is where runs are made, and makes one."""

    __call__ = property(lambda self: _found(self.__name__.removeprefix("estran.")))

    @property
    def __signature__(self) -> Any:
        from inspect import signature

        return signature(self.__call__)


class _Estran(ModuleType):
    """Where packages become functions as they are imported, which binds their names here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Estran


def _found(name: str) -> Any:
    return getattr(import_module(_HOMES[name]), name)


def __getattr__(name: str) -> Any:
    """Import what is asked for only then, so that `import estran` costs nothing."""
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return _found(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
