"""Continual learning from minibatches: plain, and with rows that are rehearsed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from estran.learning.about import About
from estran.learning.deep.initial import Initial
from estran.learning.learner import Labels
from estran.learning.rehearsal.batched import WIDTHS, Batched, check_share
from estran.learning.rehearsal.buffer import Floats, Memories, Policy
from estran.learning.rehearsal.rehearsing import Rehearsing


class Naive(Batched):
    """Plain incremental learning: each batch is one step on its cross-entropy, and what came before is not looked at again.

    The baseline of continual learning: it forgets. The step is (η / b) Σ ∇ L(h(x), y) over the batch.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    hidden, initial
        As for `estran.learning.mlp.Mlp`.
    learning_rate
        η.
    batch
        Rows of a step, b. Rows wait until so many are there.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    McCloskey, Cohen, *Catastrophic interference in connectionist networks*, 1989, for what it does.

    Examples
    --------
    >>> import numpy as np
    >>> model = Naive(2, 2, np.random.default_rng(1), hidden=[16], batch=4)
    >>> for _ in range(200):
    ...     model.learn_many(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float), np.array([0, 1, 1, 0]))
    >>> model.predict(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
    [1, 0]
    """

    name = "naive"
    about = About("continual", 1, "O(weights)", "minibatch gradient descent; McCloskey, Cohen 1989")

    def _step(self, params: Floats, x: Floats, y: Labels) -> int:
        self._mini.clear()
        self._mini.put(x, y, cross=1 / self.batch)
        return self._mini.step(params, params, -self.learning_rate)


class ER(Rehearsing):
    """Experience replay: each batch is learned together with rows drawn from a buffer of earlier ones.

    The step is on the mean cross-entropy of both, b + r rows.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial
        As for `Naive`.
    buffer, policy, candidates
        Rows that the buffer holds; who stays; how many rows of a batch are offered, all if not given. See `Buffer`.
    representatives
        Rows that are drawn from the buffer for each batch.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range, or the buffer is smaller than the number of classes.

    Notes
    -----
    Chaudhry, Rohrbach, Elhoseiny, Ajanthan, Dokania, Torr, Ranzato, *On tiny episodic memories in continual learning*, 2019,
    algorithm 1.

    Examples
    --------
    >>> kinds = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> naive = Naive(2, 2, np.random.default_rng(0), hidden=[32])
    >>> er = ER(2, 2, np.random.default_rng(0), hidden=[32], buffer=20)
    >>> for model in (naive, er):
    ...     model.learn_many(np.repeat(kinds, 200, axis=0), np.repeat([0, 1], 200))
    >>> naive.predict(kinds).tolist(), er.predict(kinds).tolist()
    ([1, 1], [0, 1])
    """

    name = "er"
    about = About("continual", 1, "O(weights), 1 + r/b times", "Chaudhry et al. 2019, alg. 1")

    def _rehearse(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        (memory,) = memories
        self._mini.clear()
        share = 1 / (len(y) + len(memory))
        self._mini.put(x, y, cross=share)
        self._mini.put(memory.x, memory.y, cross=share)
        return self._mini.step(params, params, -self.learning_rate)


class ERACE(ER):
    """Experience replay with asymmetric cross-entropy: a batch is told apart only from the classes that are in it.

    New classes thus do not push down the scores of old ones; that they differ is learned from what is rehearsed, over all
    classes. The step is on the mean of each, summed.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial, buffer, policy, candidates, representatives
        As for `ER`.

    Notes
    -----
    Caccia, Aljundi, Asadi, Tuytelaars, Pineau, Belilovsky, *New insights on reducing abrupt representation change in online
    continual learning*, ICLR 2022, section 4, the loss L_ace.

    Examples
    --------
    >>> kinds = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> model = ERACE(2, 2, np.random.default_rng(0), hidden=[32], buffer=20)
    >>> model.learn_many(np.repeat(kinds, 200, axis=0), np.repeat([0, 1], 200))
    >>> model.predict(kinds).tolist()
    [0, 1]
    """

    name = "er-ace"
    about = About("continual", 1, "O(weights), 1 + r/b times", "Caccia et al. 2022, sec. 4")

    def _rehearse(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        (memory,) = memories
        self._mini.clear()
        present = np.zeros(self.classes, np.bool_)
        present[y] = True
        self._mini.put(x, y, cross=1 / len(y), allowed=present)
        if len(memory):
            self._mini.put(memory.x, memory.y, cross=1 / len(memory))
        return self._mini.step(params, params, -self.learning_rate)


class DERpp(Rehearsing):
    """Dark experience replay++: what is rehearsed should also have the scores that it had when it was kept.

    The loss is L(B) + α E (1/K) ‖h(x′) − z′‖² + β E L(h(x″), y″), with (x′, z′) and (x″, y″) drawn from the buffer each for itself
    and z the K scores at the time. The paper writes no 1/K; its program has it.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial, buffer, policy, candidates
        As for `ER`.
    representatives
        Rows of each of the two draws.
    alpha, beta
        Weights of scores and of labels, α and β.

    Notes
    -----
    Buzzega, Boschini, Porrello, Abati, Calderara, *Dark experience for general continual learning*, NeurIPS 2020, equation 6 and
    algorithm 2.

    Examples
    --------
    >>> kinds = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> model = DERpp(2, 2, np.random.default_rng(0), hidden=[32], buffer=20)
    >>> model.learn_many(np.repeat(kinds, 200, axis=0), np.repeat([0, 1], 200))
    >>> model.predict(kinds).tolist()
    [0, 1]
    """

    name = "der++"
    about = About("continual", 1, "O(weights), 1 + 2r/b times", "Buzzega et al. 2020, eq. 6, alg. 2")

    draws = 2
    _SCORES = True

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = WIDTHS,
        learning_rate: float = 0.1,
        batch: int = 10,
        initial: Initial = "he",
        buffer: int = 1000,
        policy: Policy = "reservoir",
        candidates: int | None = None,
        representatives: int = 10,
        alpha: float = 0.5,
        beta: float = 1.0,
    ) -> None:
        self.alpha, self.beta = check_share(self.name, "alpha", alpha), check_share(self.name, "beta", beta)
        super().__init__(
            features,
            classes,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            batch=batch,
            initial=initial,
            buffer=buffer,
            policy=policy,
            candidates=candidates,
            representatives=representatives,
        )

    def _rehearse(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        dark, told = memories
        self._mini.clear()
        self._mini.put(x, y, cross=1 / len(y))
        if len(dark):
            self._mini.put(dark.x, dark.y, wanted=dark.scores, pull=2 * self.alpha / (len(dark) * self.classes))
        if len(told):
            self._mini.put(told.x, told.y, cross=self.beta / len(told))
        return self._mini.step(params, params, -self.learning_rate)


class AGEM(Rehearsing):
    """Averaged gradient episodic memory: a step may not run against the gradient of rows that are rehearsed.

    With g the gradient of the batch and g_ref that of the representatives, the step is along g where g·g_ref ≥ 0, else along
    g − (g·g_ref / g_ref·g_ref) g_ref.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial, buffer, policy, candidates, representatives
        As for `ER`. The paper keeps rows of finished tasks only; without tasks, the buffer is of all rows so far.

    Notes
    -----
    Chaudhry, Ranzato, Rohrbach, Elhoseiny, *Efficient lifelong learning with A-GEM*, ICLR 2019, equation 11.

    Examples
    --------
    >>> kinds = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> model = AGEM(2, 2, np.random.default_rng(0), hidden=[32], buffer=20)
    >>> model.learn_many(np.repeat(kinds, 200, axis=0), np.repeat([0, 1], 200))
    >>> model.predict(kinds).tolist()
    [0, 1]
    """

    name = "a-gem"
    about = About("continual", 1, "O(weights), 1 + r/b times", "Chaudhry et al. 2019, eq. 11")

    @cached_property
    def _gradients(self) -> Floats:
        return np.zeros((2, self._params.size), np.float32)

    def _rehearse(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        from estran.learning.rehearsal import kernel

        (memory,) = memories
        gradient, reference = self._gradients
        self._gradients[...] = 0
        if len(memory):
            self._mini.clear()
            self._mini.put(memory.x, memory.y, cross=1 / len(memory))
            if (bad := self._mini.step(params, reference, 1.0)) >= 0:
                return bad
        losses = self._mini.losses[: len(memory)].copy()
        self._mini.clear()
        self._mini.put(x, y, cross=1 / len(y))
        bad = self._mini.step(params, gradient, 1.0)
        if bad < 0:
            kernel.project(params, gradient, reference, np.float32(self.learning_rate))
            self._mini.losses[len(y) : len(y) + len(memory)] = losses
        return bad
