"""The seam to online regression: what every regressor can do, arrays in and arrays out."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.habits import Row, one_row
from estran.learning.learner import Features, State
from estran.learning.regression.rows import Numbers


@runtime_checkable
class Regressor(Protocol):
    """Learns numbers of rows from chunks of a stream, in order, and answers at any time.

    A regressor is made by a *factory* ``(features, rng, **settings)``: the number of features of a row, the generator of all its
    randomness, and its settings. `estran.checks.regressors` checks that a regressor keeps what is promised here.
    """

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit. What was learned before is then unchanged.
        NotFiniteError
            If a value is not finite, or learning diverges. What was learned before is then unchanged.
        """
        ...

    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        """What `predict` says of each row before it is learned from, shape (n,); learns the chunk, and raises as `learn_many`."""
        ...

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,)."""
        ...

    def state(self) -> State:
        """A snapshot that shares no memory with the regressor.

        Raises
        ------
        StateError
            If what was learned cannot be expressed as plain arrays.
        """
        ...

    def load(self, state: State) -> None:
        """Replace everything learned by a snapshot (of a regressor with the same settings).

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        ...


class NumberHabits:
    """Two habits of calling a regressor, to mix in: it needs ``name``, ``features``, ``learn_many`` and ``predict``."""

    name: str
    features: int

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order."""
        raise NotImplementedError

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,)."""
        raise NotImplementedError

    def partial_fit(self, x: Features, y: NDArray[Any]) -> Self:
        """`learn_many`, in scikit-learn's habit."""
        self.learn_many(x, y)
        return self

    def learn_one(self, x: Row, y: float) -> None:
        """Learn one sample, in River's habit."""
        self.learn_many(one_row(x, self.features, self.name), np.array([y], dtype=np.float64))

    def predict_one(self, x: Row) -> float:
        """Number of one sample."""
        return float(self.predict(one_row(x, self.features, self.name))[0])


def create(choice: registry.Choice, features: int, rng: np.random.Generator) -> Regressor:
    """Make a regressor.

    Parameters
    ----------
    choice
        Name of a built-in or installed regressor, or ``module:Class`` of a regressor, of a regressor of scikit-learn with
        ``partial_fit``, or of one of River (or of a function that returns such), with its settings. One of scikit-learn also
        takes ``chunked`` (see `estran.learning.regression.adapters.SklearnRegressor`).
    features
        Width of a row.
    rng
        Source of all its randomness.

    Raises
    ------
    SettingsError
        If there is no such regressor, it learns something else, or it does not take a setting.
    RequestError
        If a setting's value is out of range.

    Examples
    --------
    >>> model = create({"ridge": {"l2": 1e-9}}, 1, np.random.default_rng(0))
    >>> model.learn_many(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> model.predict(np.array([[10.0]])).round(6).tolist()
    [21.0]
    """
    made = registry.foreign(choice, rng, "numbers")
    if made is None:
        regressor: Regressor = registry.build(choice, "numbers", features, rng)
        return regressor
    from estran.learning.regression.adapters import adapt

    model, chunked = made
    return adapt(model, features, name=registry.read(choice)[0], chunked=chunked)
