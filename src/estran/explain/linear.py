"""The linear model of one response with all that was fitted: what predictions, pictures and choices of further runs begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.explain.diagnostics import Diagnosis, diagnose
from estran.explain.model import Fit, Matrix, Model, build, fit
from estran.explain.modelled import CURVED, spare, too_few
from estran.explain.modelled import coded as coded_by
from estran.explain.sample import by_run, sample
from estran.explain.table import Table
from estran.explain.transform import forward


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
    model = build(codes, table.blocks[rows], codings, spare(table, len(y)))
    matrix = model.matrix()
    if not model.terms or len(y) <= matrix.shape[1]:
        raise too_few(table, len(y), response)
    found = fit(matrix, forward(y, power))
    kept = {name: np.unique(table.codes[name][rows]) for name in codes}
    return Fitted(y, model, found, rows, kept, codes, codings, diagnose(found, codes, numbers + 1))


def coded(table: Table, rows: NDArray[np.bool_]) -> tuple[dict[str, NDArray[np.int64]], dict[str, Matrix]]:
    """Levels and coding of these rows, a parabola for a numeric factor of many levels (`estran.explain.modelled.coded`)."""
    return coded_by(table, rows, lambda levels: levels > CURVED)


def student(freedom: int) -> float:
    """Half the width of a 95 % interval in standard errors, with so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
