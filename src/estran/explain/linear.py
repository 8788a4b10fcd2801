"""The linear model of one response with all that was fitted: what predictions, pictures and choices of further runs begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.diagnostics import Diagnosis, diagnose
from estran.explain.model import Fit, Matrix, Model, build, contrasts, curve, fit
from estran.explain.modelled import CURVED
from estran.explain.sample import by_run, sample
from estran.explain.table import Table
from estran.explain.transform import forward
from estran.study.rows import level


@dataclass(frozen=True)
class Fitted:
    """A least-squares fit, with blocks as fixed effects.

    Attributes
    ----------
    y
        The response of each run that counts; where several hosts measured it, their mean.
    rows
        Which rows of the table count.
    kept
        Of each factor in the model, the numbers of its levels that occur in these rows, in the order of its coding.
    codes, codings
        Level of each row, as a place in ``kept``; and what each of these levels has in the factor's columns.
    diagnosis
        Of the residuals.
    """

    y: Matrix
    model: Model
    fit: Fit
    rows: NDArray[np.bool_]
    kept: Mapping[str, NDArray[np.int64]]
    codes: Mapping[str, NDArray[np.int64]]
    codings: Mapping[str, Matrix]
    diagnosis: Diagnosis


def fitted(table: Table, response: str, power: float = 1.0) -> Fitted:
    """Fit a response, one value a run.

    Parameters
    ----------
    power
        Of the response, that is fitted: 1 for itself (`estran.explain.transform`).

    Raises
    ------
    RequestError
        If there is no such response, it is the same in all runs, or there are too few runs to judge by.
    """
    numbers = np.unique(sample(table, response).rows)
    y, rows = by_run(table, response)[numbers], np.isin(np.arange(table.runs), numbers)
    codes, codings = coded(table, rows)
    model = build(codes, table.blocks[rows], codings)
    matrix = model.matrix()
    if not model.terms or len(y) <= matrix.shape[1]:
        raise RequestError(
            f"{len(y)} runs that measured {response} are too few for the effects of {len(table.levels)} factors",
            where=str(table.folder.path),
            remedy="make more replicates, or fewer levels",
        )
    found = fit(matrix, forward(y, power))
    kept = {name: np.unique(table.codes[name][rows]) for name in codes}
    return Fitted(y, model, found, rows, kept, codes, codings, diagnose(found, codes, numbers + 1))


def coded(table: Table, rows: NDArray[np.bool_]) -> tuple[dict[str, NDArray[np.int64]], dict[str, Matrix]]:
    """Levels that occur in these rows, numbered anew, and their coding; a factor with one level left has no effect to speak of."""
    codes, codings = {}, {}
    factors = {factor.name: factor for factor in table.folder.factors()}
    for name, code in table.codes.items():
        kept, dense = np.unique(code[rows], return_inverse=True)
        if len(kept) < 2:
            continue
        codes[name] = dense.astype(np.int64)
        factor = factors[name]
        if len(kept) > CURVED and factor.span is not None:
            codings[name] = curve(np.array([factor.place(level(table.levels[name][number])) for number in kept]))
        else:
            codings[name] = contrasts(len(kept))
    return codes, codings


def student(freedom: int) -> float:
    """Half the width of a 95 % interval in standard errors, with so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
