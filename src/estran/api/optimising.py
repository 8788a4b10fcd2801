"""Optimisations: searched, and asked what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.api.experiments import Experiment, Set, asked, command
from estran.api.studies import Study, open_study

if TYPE_CHECKING:
    from estran.optimize.answer import Answer, Candidate
    from estran.optimize.folder import Folder
    from estran.optimize.loop import Watcher


class Optimisation:
    """What a search found.

    Attributes
    ----------
    answer
        All of it: candidates with their means and intervals, gains over the default, what it cost, what to mind.
    """

    def __init__(self, folder: Folder, answer: Answer) -> None:
        self._folder, self.answer = folder, answer

    def __repr__(self) -> str:
        return f"<optimisation of {self.answer.experiment} on {self.answer.target}: {self.answer.sentence}>"

    def _repr_html_(self) -> str:
        from estran.report.inline import optimum

        return optimum(self.answer)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def recommended(self) -> Mapping[str, Any] | None:
        """The levels to use; None if no point is likely to keep all limits."""
        found = self.answer.recommended
        return None if found is None else self.answer.candidate(found).levels

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The points that no other beats."""
        return tuple(one for one in self.answer.candidates if one.on_front)

    @property
    def page(self) -> Path:
        """All of it as a self-contained HTML page in its folder, which is written now."""
        from estran.report.optimum.reading import write

        return write(self._folder, self.answer)[1]

    def study(self, fidelity: str | None = None) -> Study:
        """The study that holds the runs of a fidelity; of the one that counts if not given."""
        return open_study(self.path / (fidelity or self.answer.target))


def optimize(
    experiment: Experiment | str | Path,
    *,
    minimize: str | Sequence[str] = (),
    maximize: str | Sequence[str] = (),
    subject_to: str | Sequence[str] = (),
    trials: int = 30,
    replicates: int = 3,
    on: str = "emulate",
    fidelities: Sequence[str] | None = None,
    set: Set = None,  # noqa: A002 the option's name
    seed: int | None = None,
    jobs: int | None = None,
    sampler: str = "tpe",
    prune: str = "none",
    timeout: str | None = None,
    earlier: Sequence[str | Path] = (),
    calibration: str | None = None,
    out: str | Path = "studies",
    watcher: Watcher | None = None,
) -> Optimisation:
    """Search the levels of an experiment's factors for the best, as ``estran optimize`` does; also in a notebook, whose cell waits.

    Parameters
    ----------
    experiment
        A loaded one, or its file. What is set is fixed, and not searched.
    minimize, maximize, subject_to
        Responses, and limits such as ``energy<=40J``; one or several.
    trials, replicates, on, fidelities, jobs, sampler, prune, timeout, calibration, out
        As for ``estran optimize``.
    set, seed
        As for `load`; beside what the experiment was loaded with.
    earlier
        Folders of earlier studies or optimisations whose points guide the search.
    watcher
        Who is told how it goes.

    Raises
    ------
    SpecErrors, RequestError
        If the request is wrong, when nothing has been started; or if no run can be made.
    KeyboardInterrupt
        If it was interrupted; its notes say how to go on.
    """
    from estran.optimize.loop import Unwatched
    from estran.optimize.optimize import Request, begin, conduct
    from estran.run.interrupting import outside_a_loop

    def make() -> Optimisation:
        found = asked(experiment, set, seed)
        low, high, limits = _several(minimize), _several(maximize), _several(subject_to)
        levels = None if fidelities is None else tuple(fidelities)
        words = command("optimize", found, minimize=low, maximize=high, subject_to=limits, trials=trials, on=on)
        request = Request(
            found.file, low, high, limits, on, levels, trials, replicates, sampler, found.seed, found.set, calibration,
            timeout, prune, tuple(map(str, earlier)),
        )  # fmt: skip
        folder = begin(request, out=Path(out), jobs=jobs)
        try:
            return Optimisation(folder, conduct(folder, jobs=jobs, watcher=watcher or Unwatched(), command=words))
        except KeyboardInterrupt as error:
            error.add_note(f"to go on: estran resume {folder.path}")
            raise

    return outside_a_loop(make)


def _several(one_or_more: str | Sequence[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)
