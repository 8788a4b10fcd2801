"""Explanations of studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estran.api.studies import Study, open_study
from estran.study.rows import cell

if TYPE_CHECKING:
    from estran.explain.effects import Explanation as Effects
    from estran.explain.indices import Indices
    from estran.explain.pareto import Front
    from estran.explain.paths import Paths
    from estran.explain.whatif import Prediction
    from estran.report.study_data import Study as Explained


class Explanation:
    """Which factors drive the responses of a study, by how much, and how sure that is.

    Attributes
    ----------
    study
        What is explained.
    """

    def __init__(self, study: Study, found: Explained) -> None:
        self.study, self._found = study, found

    def __repr__(self) -> str:
        return f"<explanation of {', '.join(self.responses)} in {self.study.path}>"

    def _repr_html_(self) -> str:
        from estran.report.inline import explained

        return explained(self._found.explanations)

    @property
    def responses(self) -> Mapping[str, Effects | Indices]:
        """Of each response its effects, or, where the design is for them, its indices."""
        return {one.response: one for one in self._found.explanations}

    @property
    def predictions(self) -> Sequence[Prediction]:
        """What responses would be at the levels of ``what_if``."""
        return self._found.beyond.predictions

    @property
    def front(self) -> Front | None:
        """Which points nothing beats in all responses that are traded; None where less than two vary."""
        return self._found.beyond.front

    @property
    def paths(self) -> Paths | None:
        """Where the time of messages goes; None where runs recorded no messages."""
        return self._found.paths

    @property
    def page(self) -> Path:
        """All of it as a self-contained HTML page in the study's folder, which is written now."""
        from estran.report.study_page import write_study_page

        return write_study_page(self._found)

    def plain(self) -> dict[str, Any]:
        """All of it as JSON, as ``estran explain --json`` has it."""
        return self._found.plain()


def explain(
    study: Study | str | Path,
    response: str | Sequence[str] = (),
    *,
    what_if: Mapping[str, Any] | None = None,
    next_runs: int = 4,
    seed: int = 0,
) -> Explanation:
    """Say which factors drive the responses of a study, as ``estran explain`` does.

    Parameters
    ----------
    study
        An opened one, or its folder.
    response
        What to explain, one or several; what is best known if not given.
    what_if
        Also predict the responses at these levels.
    next_runs
        How many further runs may be suggested to narrow intervals.
    seed
        Of permutations and resamples.

    Raises
    ------
    RequestError
        If this is no study, or what is asked for cannot be had.
    """
    from estran.report.study_data import gather

    opened = study if isinstance(study, Study) else open_study(study)
    wanted = (response,) if isinstance(response, str) else tuple(response)
    levels = None if what_if is None else [f"{name}={cell(value)}" for name, value in what_if.items()]
    return Explanation(opened, gather(opened.table, wanted, seed, what_if=levels, next_runs=next_runs))
