"""Catches components that escape simulated time: that really sleep, read a clock, start threads, or draw unseeded randomness.

What counts is whose code does it: a component's own module, or a module beside the experiment file. Libraries may look at a
clock for their own ends; but global random state is out of bounds for them, too, since a run would depend on its neighbours then.

Modules beside the experiment file are imported anew for each run: what one run left in them is not there in the next.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import os
import random
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

import numpy as np

from estran.errors import ServiceError
from estran.platforms.simulated.loop import RANK

_SLEEP: Final = "await self.clock.sleep(…) instead"
_CLOCK: Final = "use self.clock.now() instead"
_RANDOM: Final = "draw from self.rng instead"
_GLOBAL: Final = "draw from self.rng instead, or hand a seed drawn from it to the library that draws (random_state=…)"
_THREAD: Final = "await self.compute(function, …) instead"
_OUTSIDE: Final = "only streams reach other services, also in simulated time; model the program as a command service"

FORBIDDEN: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("time", ("sleep",), _SLEEP),
    ("time", ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"), _CLOCK),
    (
        "random",
        (
            "random", "randint", "randrange", "getrandbits", "choice", "choices", "sample", "shuffle", "uniform", "gauss",
            "normalvariate", "expovariate", "betavariate", "triangular", "randbytes", "seed",
        ),
        _GLOBAL,
    ),
    (
        "numpy.random",
        (
            "rand", "randn", "randint", "random", "random_sample", "choice", "shuffle", "permutation", "uniform", "normal",
            "standard_normal", "exponential", "poisson", "binomial", "bytes", "seed",
        ),
        _GLOBAL,
    ),
    ("os", ("urandom",), _RANDOM),
    ("uuid", ("uuid1", "uuid4"), _RANDOM),
    ("secrets", ("token_bytes", "token_hex", "randbelow", "choice"), _RANDOM),
    ("asyncio", ("to_thread",), _THREAD),
    ("subprocess", ("run", "Popen", "call", "check_call", "check_output"), _OUTSIDE),
    ("socket", ("socket", "create_connection"), _OUTSIDE),
)  # fmt: skip
"""Modules, what in them is out of bounds, and what to do instead."""


class EscapeError(ServiceError):
    """A component did something that simulated time cannot see.

    Attributes
    ----------
    reported
        Whether it has ended the component that did it; code that catches every exception swallows it.
    """

    reported = False


class Seams:
    """Guards a run's components while it is entered.

    Parameters
    ----------
    names
        Replicas by rank.
    folder
        The experiment's folder: all modules in it are the user's.
    """

    def __init__(self, names: dict[int, str], folder: str) -> None:
        self._names = names
        self._folder = str(Path(folder).resolve()) + os.sep
        self._own: set[str] = set()
        self._seen: set[str] = set()
        self.escapes: list[EscapeError] = []
        self._guards: dict[int, tuple[Any, Any]] = {}
        self._undo = ExitStack()
        self._state: object = None

    def __enter__(self) -> Seams:
        with ExitStack() as undo:
            self._undo = undo
            self._guard_all()
            self._undo = undo.pop_all()
        self._state = _global_state()
        return self

    def _guard_all(self) -> None:
        self._forget()
        for module_name, functions, remedy in FORBIDDEN:
            module = importlib.import_module(module_name)
            for function in functions:
                self._guard(module, function, f"{module_name}.{function}", remedy)
        self._replace(np.random.mtrand, "_rand", self._guarded_state())
        self._guard(np.random, "default_rng", "numpy.random.default_rng without a seed", _RANDOM, when=_unseeded)
        self._guard(threading.Thread, "start", "threading.Thread.start", _THREAD)
        self._replace(datetime, "datetime", self._guarded_datetime())
        # Should anybody draw from global generators all the same, results stay the same until that is found out.
        self._undo.callback(random.setstate, random.getstate())
        self._undo.callback(np.random.set_state, np.random.get_state())
        _seed_globals()

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def watch(self, module_name: str) -> None:
        """Guard a component's module, and whatever is beside the experiment file, too: names that were imported from elsewhere."""
        before = set(self._own)
        if _root(module_name) != "estran":
            self._own.add(_root(module_name))
        fresh = {name: module for name, module in sys.modules.items() if name not in self._seen}
        self._seen.update(fresh)
        self._own.update(_root(name) for name, module in fresh.items() if self._beside(name, module))
        for name in self._seen if self._own != before else fresh:
            if _root(name) in self._own and name in sys.modules:
                self._guard_names(sys.modules[name])

    def _beside(self, name: str, module: ModuleType) -> bool:
        """Whether a module is the user's: it lies in the experiment's folder and is not installed there."""
        file = getattr(module, "__file__", None)
        if file is None or "site-packages" in file or _root(name) in ("estran", "__main__"):
            return False
        return str(Path(file).resolve()).startswith(self._folder)

    def _forget(self) -> None:
        """Have the user's modules imported anew, and those that were there before back at the end."""
        before = {name: module for name, module in sys.modules.items() if self._beside(name, module)}
        self._undo.callback(self._restore, before)
        for name in before:
            del sys.modules[name]

    def _restore(self, before: dict[str, ModuleType]) -> None:
        for name in [name for name, module in sys.modules.items() if self._beside(name, module)]:
            del sys.modules[name]
        sys.modules.update(before)

    def untouched(self) -> bool:
        """Whether global random state is what it was: False tells of draws that no guard has seen."""
        return _global_state() == self._state

    def _guard_names(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            guard = self._guards.get(id(value))
            if guard is not None and guard[0] is value:
                self._replace(module, name, guard[1])

    def _guard(self, owner: Any, name: str, told: str, remedy: str, when: Callable[..., bool] | None = None) -> None:
        original = getattr(owner, name)

        @functools.wraps(original, assigned=("__name__", "__qualname__", "__doc__"), updated=())
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if RANK.get() >= 0 and (when is None or when(*args, **kwargs)):
                self._check(sys._getframe(1), told, remedy)
            return original(*args, **kwargs)

        if isinstance(original, type):
            guarded = _subclass(original, self._check, told, remedy)  # type: ignore[assignment]
        self._guards[id(original)] = original, guarded
        self._replace(owner, name, guarded)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def _check(self, frame: FrameType | None, told: str, remedy: str) -> None:
        """Raise if the nearest code that is not of the standard library is the user's; for randomness, whoever's it is.

        Where the standard library itself reads a clock, as it does to stamp a log record, nothing comes of it.
        """
        while frame is not None:
            root = _root(str(frame.f_globals.get("__name__", "")))
            if root in self._own or (remedy is _GLOBAL and root not in sys.stdlib_module_names):
                where = f"{self._names.get(RANK.get(), 'a component')} at {frame.f_code.co_filename}:{frame.f_lineno}"
                raise self._escape(f"calls {told}, which simulated time cannot see", where, remedy)
            if root not in sys.stdlib_module_names or remedy is _CLOCK:
                return
            frame = frame.f_back

    def _guarded_state(self) -> np.random.RandomState:
        """What `sklearn.utils.check_random_state(None)` and the like hand out: the legacy global generator."""
        original, refuse = np.random.mtrand._rand, self._refuse

        class Guarded(np.random.RandomState):
            def __getattribute__(self, name: str) -> Any:
                if RANK.get() >= 0 and not name.startswith("_"):
                    refuse(sys._getframe(1))
                return super().__getattribute__(name)

        return Guarded(original._bit_generator)

    def _refuse(self, frame: FrameType | None) -> None:
        """Raise for a draw from the global state, at the place in the user's code that led there if there is one, else here."""
        assert frame is not None
        place, library = frame, frame
        while place.f_back is not None and _root(str(place.f_globals.get("__name__", ""))) not in self._own:
            place = place.f_back
        if place.f_back is None:
            place = library
        raise self._escape(
            f"draws from NumPy's global random state, in {library.f_globals.get('__name__')}.{library.f_code.co_name}",
            f"{self._names.get(RANK.get(), 'a component')} at {place.f_code.co_filename}:{place.f_lineno}",
            _GLOBAL,
        )

    def _escape(self, what: str, where: str, remedy: str) -> EscapeError:
        error = EscapeError(what, where=where, remedy=remedy)
        self.escapes.append(error)
        return error

    def _guarded_datetime(self) -> type:
        original = datetime.datetime
        check = self._check

        class Metaclass(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, original)

        class Guarded(original, metaclass=Metaclass):  # type: ignore[valid-type,misc]
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                if RANK.get() >= 0:
                    check(sys._getframe(1), "datetime.now", _CLOCK)
                return original.now(tz)

            @classmethod
            def utcnow(cls) -> Any:
                if RANK.get() >= 0:
                    check(sys._getframe(1), "datetime.utcnow", _CLOCK)
                return original.utcnow()

        Guarded.__name__, Guarded.__qualname__ = original.__name__, original.__qualname__
        self._guards[id(original)] = original, Guarded
        return Guarded


def _subclass(original: Any, check: Callable[[FrameType | None, str, str], None], told: str, remedy: str) -> type:
    """A class that may be derived from and checked against as before, and guards its making."""

    class Guarded(original):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if RANK.get() >= 0:
                check(sys._getframe(1), told, remedy)
            super().__init__(*args, **kwargs)

    Guarded.__name__, Guarded.__qualname__, Guarded.__module__ = original.__name__, original.__qualname__, original.__module__
    return Guarded


def _root(module_name: str) -> str:
    return module_name.split(".")[0]


def _unseeded(seed: object = None) -> bool:
    return seed is None


def _seed_globals() -> None:
    random.seed(0)
    np.random.seed(0)


def _global_state() -> object:
    return str(np.random.get_state(legacy=False)), random.getstate()
