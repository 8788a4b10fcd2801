"""Learners by name, as an experiment file writes them: ``mlp``, ``{mlp: {hidden: [64]}}``, ``{"module:Class": {…}}``."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

import numpy as np

from estran.errors import EstranError
from estran.learning.about import GIVEN, About, Task
from estran.learning.catalogue import BUILT_IN
from estran.learning.learner import Learner, StateError
from estran.learning.mistakes import SettingsError, check_known

Choice: TypeAlias = str | Mapping[str, Mapping[str, Any] | None]
"""A name, or one name with its settings."""

GROUP: Final = "estran.learners"
"""Entry points of this group are learners of third parties, by name."""


def names() -> list[str]:
    """Names of all learners that are installed."""
    return sorted({*BUILT_IN, *_installed()})


def read(choice: Choice) -> tuple[str, dict[str, Any]]:
    """Split a choice into name and settings.

    Raises
    ------
    SettingsError
        If it is neither a name nor one name with its settings.

    Examples
    --------
    >>> read("mlp"), read({"mlp": {"hidden": [32]}})
    (('mlp', {}), ('mlp', {'hidden': [32]}))
    """
    if isinstance(choice, str):
        return choice, {}
    if len(choice) != 1:
        what = f"a learner is one name with its settings, not {len(choice)}"
        raise SettingsError(what, where="learner", remedy="like {mlp: {hidden: [64]}}")
    ((name, settings),) = choice.items()
    return name, dict(settings or {})


def check(choice: Choice, task: Task = "classes") -> None:
    """Make sure that the learner exists, is for the task, and takes the settings that are given, without making one.

    Raises
    ------
    SettingsError
        Naming the learner, and the argument that it does not have.
    """
    name, settings = read(choice)
    factory = _factory(name)
    _check_task(name, factory, task)
    _check_arguments(name, factory, settings)
    # A learner made of others looks into what it is made of.
    inside = getattr(factory, "check_choices", None)
    if inside is not None:
        inside(**settings)


def check_values(choice: Choice) -> None:
    """`check`, and make sure that the settings' values are in range, by making a learner for classes.

    How wide rows are is not known here: what can be made for no usual width with these settings is refused, unless it cannot be
    made without them either.

    Raises
    ------
    SettingsError
        As `check`, or saying what the learner says.
    """
    check(choice)
    name, settings = read(choice)
    factory = _factory(name)
    refusal = _refusal(factory, name, json.dumps(settings, default=repr))
    if refusal is None or (settings and not _required(factory) and _refusal(factory, name, "{}") is not None):
        return
    what, remedy = refusal
    raise SettingsError(what, where=f"learner {name}", remedy=remedy)


@lru_cache(64)
def _refusal(factory: Callable[..., Any], name: str, settings: str) -> tuple[str, str] | None:
    """Why a learner cannot be made for any of some shapes, and what to do; None if it can for one."""
    refusal: tuple[str, str] | None = None
    for features, classes in ((64, 10), (8, 2), (784, 10)):
        try:
            create({name: json.loads(settings)}, features, classes, np.random.default_rng(0))
        except Exception as error:  # noqa: BLE001 whatever a stranger's class raises
            said = (error.what, error.remedy) if isinstance(error, EstranError) else (str(error), None)
            refusal = refusal or (said[0] or type(error).__name__, said[1] or "see which values its settings may have")
        else:
            return None
    return refusal


def _required(factory: Callable[..., Any]) -> bool:
    """Whether it has settings without defaults."""
    given = GIVEN[_task(factory) or "classes"]
    parameters = inspect.signature(factory).parameters.values()
    return any(
        one.default is one.empty and one.name not in given and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in parameters
    )


def settings(name: str) -> list[str]:
    """Names of the settings that a learner takes.

    Raises
    ------
    SettingsError
        If there is no such learner.
    """
    factory = _factory(name)
    given = GIVEN[_task(factory) or "classes"]
    return [parameter for parameter in inspect.signature(factory).parameters if parameter not in given]


def about(name: str) -> About | None:
    """What a learner says of itself for the catalogue, if anything.

    Raises
    ------
    SettingsError
        If there is no such learner.
    """
    found = getattr(_factory(name), "about", None)
    return found if isinstance(found, About) else None


def create(choice: Choice, features: int, classes: int, rng: np.random.Generator) -> Learner:
    """Make a learner.

    Parameters
    ----------
    choice
        Name of a built-in or installed learner, or ``module:Class`` of a learner, of an estimator with scikit-learn's
        ``partial_fit``, of a model with River's ``learn_one``, or of a module of PyTorch (or of a function that returns such),
        with its settings. An estimator also takes ``chunked``, and a module what `estran.learning.pytorch.TorchLearner` lists.
    features, classes
        Width of a row, and number of classes.
    rng
        Source of all its randomness.

    Raises
    ------
    SettingsError
        If there is no such learner, or it does not take a setting.
    RequestError
        If a setting's value is out of range.
    """
    name, settings = read(choice)
    factory = _factory(name)
    if _task(factory):
        learner: Learner = build(choice, "classes", features, classes, rng)
        return learner
    check(choice)
    from estran.learning import adapters

    return adapters.create(name, factory, settings, features, classes, rng)


def build(choice: Choice, task: Task, *given: Any) -> Any:
    """Make what learns one task: what `create` does for classes, for others of the house and installed ones.

    Parameters
    ----------
    choice
        Name, or name and settings; ``module:Class`` of one that takes what `estran.learning.about.GIVEN` lists first.
    task
        What is to be learned.
    given
        What comes before the settings.

    Raises
    ------
    SettingsError
        If there is no such learner, it is for another task, or it does not take a setting.
    RequestError
        If a setting's value is out of range.
    """
    check(choice, task)
    name, settings = read(choice)
    factory = _factory(name)
    if not _task(factory):
        what = f"it does not take {', '.join(GIVEN[task])} first"
        raise SettingsError(what, where=f"learner {name}", remedy="write a class or function that does")
    return factory(*given, **settings)


def foreign(choice: Choice, rng: np.random.Generator, task: Task) -> tuple[Any, bool] | None:
    """A model of another library, and whether it wants whole chunks; None where `build` makes it.

    Raises
    ------
    SettingsError
        If there is no such model, or it does not take a setting.
    """
    name, settings = read(choice)
    factory = _factory(name)
    if _task(factory):
        return None
    check(choice, task)
    from estran.learning import adapters

    return adapters.made_plainly(name, factory, settings, rng)


def parameters(learner: Learner) -> int:
    """How many numbers a learner's snapshot consists of; 0 where it has none before it has learned, or at all."""
    try:
        return sum(int(np.size(array)) for array in learner.state().values())
    except StateError:
        return 0


def warm(choice: Choice) -> None:
    """Let a learner do what must happen once in a process, such as compiling: its class's ``warm()``, if it has one.

    Raises
    ------
    SettingsError
        If there is no such learner.
    """
    prepare = getattr(_factory(read(choice)[0]), "warm", None)
    if prepare is not None:
        prepare()


def _factory(name: str) -> Callable[..., Any]:
    if ":" in name:
        return _imported(name)
    if name not in BUILT_IN:
        check_known(name, {*BUILT_IN, *_installed()}, kind="learner", where="learner")
    return _imported(BUILT_IN.get(name) or _installed()[name])


def _installed() -> dict[str, str]:
    """Learners of third parties: where each is defined."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _imported(path: str) -> Callable[..., Any]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"{path} cannot be imported: {error}",
            where="learner",
            remedy="write module:Class of something installed or beside the experiment file"
            + (", or: pip install 'estran[sklearn,river,torch]'" if _lacks_a_library(module, error) else ""),
        ) from error
    if not callable(found):
        raise SettingsError(f"{path} is neither a class nor a function", where="learner", remedy="write module:Class")
    factory: Callable[..., Any] = found
    return factory


def _lacks_a_library(module: str, error: Exception) -> bool:
    """Whether what could not be imported is of a library that we adapt, or needs one."""
    return not {module.split(".")[0], (getattr(error, "name", None) or "").split(".")[0]}.isdisjoint(("sklearn", "river", "torch"))


def _task(factory: Callable[..., Any]) -> Task | None:
    """What one of our factories is for, told by its first arguments; None of a model of another library."""
    parameters = tuple(inspect.signature(factory).parameters)
    return next((task for task, given in GIVEN.items() if parameters[: len(given)] == given), None)


def _check_task(name: str, factory: Callable[..., Any], task: Task) -> None:
    found = _task(factory)
    if found not in (None, task):
        same = sorted(known for known in BUILT_IN if _task(_factory(known)) == task)
        raise SettingsError(f"it learns {found}, not {task}", where=f"learner {name}", remedy=f"choose one of {', '.join(same)}")


def _check_arguments(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters
    task = _task(factory)
    if task is None:
        from estran.learning import adapters

        adapters.check_beside(name, factory, settings)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    options = {parameter for parameter in parameters if parameter not in GIVEN[task or "classes"]}
    if task is None:
        options.update(adapters.settings_beside(factory))
    for argument in settings:
        check_known(argument, options, kind="setting", where=f"learner {name}")
