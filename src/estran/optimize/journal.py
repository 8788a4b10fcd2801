"""The journal of an optimisation: every trial as it is asked for and as it ends, in Optuna's journal file.

Any tool of Optuna's reads it: one study for each fidelity, with parameters, values, constraints and states. What Estran needs to go
on stands in the attributes ``ask`` and ``told`` of each trial; nothing else is read when an optimisation is resumed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estran.errors import RequestError
from estran.optimize.goals import Goals
from estran.optimize.space import Space
from estran.optimize.strategy import DONE, Ask, Told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna import Study, Trial

FILE: Final = "journal.log"


class Journal:
    """Writes and reads the journal; for one process at a time.

    Parameters
    ----------
    path
        The file, made if absent.
    fidelities
        Their names.

    Raises
    ------
    RequestError
        If the file is damaged.
    """

    def __init__(self, path: Path, space: Space, goals: Goals, fidelities: Sequence[str]) -> None:
        optuna = library()
        _check(path)
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        # A lock of a killed process must not hold up the next one for long: nobody else writes here.
        self._storage = JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path), grace_period=3)))
        directions = ["minimize" if goal.minimize else "maximize" for goal in goals.goals]
        self._studies: dict[str, Study] = {
            name: optuna.create_study(storage=self._storage, study_name=name, directions=directions, load_if_exists=True)
            for name in fidelities
        }
        self._space, self._goals = space, goals
        self._going: dict[int, Trial] = {}
        self._reports: dict[int, dict[int, float]] = {}

    def recalled(self) -> list[tuple[Ask, Told | None]]:
        """Every ask so far in the order of numbers, and how it ended; None where it was going on when the session ended."""
        from optuna.trial import TrialState

        found: dict[int, tuple[Ask, Told | None]] = {}
        for study in self._studies.values():
            for frozen in study.get_trials(deepcopy=False):
                ask = Ask(**frozen.user_attrs["ask"])
                ended = frozen.user_attrs.get("told")
                told = None if ended is None else _told(ended)
                found[ask.number] = ask, told
                self._reports[ask.number] = dict(frozen.intermediate_values)
                if frozen.state == TrialState.RUNNING:
                    self._going[ask.number] = self._trial(study, frozen.number)
                    if told is not None:  # killed between the two writings
                        self._close(ask.number, told)
        return [found[number] for number in sorted(found)]

    def begin(self, ask: Ask) -> None:
        """Write an ask, before its run begins."""
        from optuna.trial import TrialState, create_trial

        study = self._studies[ask.fidelity]
        parameters, distributions = self._space.parameters(ask.levels)
        attributes = {"ask": asdict(ask)}
        study.add_trial(
            create_trial(state=TrialState.RUNNING, params=parameters, distributions=distributions, user_attrs=attributes)
        )
        number = len(study.get_trials(deepcopy=False)) - 1
        self._going[ask.number] = self._trial(study, number)

    def reported(self, number: int, step: int, value: float) -> None:
        """Write a live figure of a trial that goes on."""
        self._going[number].report(value, step)
        self._reports.setdefault(number, {})[step] = value

    def reports(self, number: int) -> dict[int, float]:
        """Live figures of a trial by step."""
        return self._reports.get(number, {})

    @property
    def silent(self) -> bool:
        """Whether no live figure of any trial was written."""
        return not any(self._reports.values())

    def end(self, number: int, told: Told) -> None:
        """Write how a trial ended."""
        trial = self._going[number]
        for limit, violation in zip(self._goals.limits, told.violations or (), strict=False):
            trial.set_constraint(limit.text, violation)
        trial.set_user_attr("told", asdict(told))
        self._close(number, told)

    def _close(self, number: int, told: Told) -> None:
        from optuna.trial import TrialState

        trial = self._going.pop(number)
        if told.status == DONE and told.costs is not None:
            values = [goal.cost(cost) for goal, cost in zip(self._goals.goals, told.costs, strict=True)]
            trial.study.tell(trial, values)
        else:
            pruned = told.status == "pruned" and self._goals.single
            trial.study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def _trial(self, study: Study, number: int) -> Trial:
        from optuna.trial import Trial

        place = self._storage.get_study_id_from_name(study.study_name)
        return Trial(study, self._storage.get_trial_id_from_study_id_trial_number(place, number))


def _check(path: Path) -> None:
    """Make sure that every line is whole: Optuna would go on writing behind one that was cut."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        last = number == len(lines)
        try:
            whole = not line if last else isinstance(json.loads(line), dict)
        except ValueError:
            whole = False
        if not whole:
            remedy = "remove this line, which was cut when it was written" if last else "restore the file as it was written"
            raise RequestError("the journal is damaged", where=f"{path}:{number}", remedy=remedy)


def library() -> Any:
    """Optuna, which is an extra, silenced: what it has to say is said by whoever uses it here.

    Raises
    ------
    RequestError
        If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise RequestError("optimising needs Optuna", where="estran optimize", remedy="pip install 'estran[optimize]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def unwarned() -> Iterator[None]:
    """Leave out warnings that Optuna's experimental parts give each time they are used."""
    import warnings

    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _told(plain: dict[str, Any]) -> Told:
    several = {key: None if plain.get(key) is None else tuple(plain[key]) for key in ("costs", "violations", "reached")}
    return Told(**{**plain, **several})
