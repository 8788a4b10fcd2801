"""Learners that are modules of PyTorch. Importing it imports torch, so only `estran.learning.adapters` does so, for a module."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, State, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.pytorch_choices import Optimizer, checked_device, checked_optimizer
from estran.learning.pytorch_state import SAME_SETTINGS, array, check_fits, memory
from estran.learning.rows import checked_chunk, checked_rows, softmax
from estran.learning.settings import flag, positive, within

_BATCH: Final = "look at the module; what normalises over a batch cannot learn from one row: use LayerNorm, or set chunked: true"


class TorchLearner(Habits):
    """A module that answers rows, shape (n, features), with a score (logit) of each class, shape (n, classes).

    It learns by the cross-entropy of each row, one step of the optimizer a row; predicting is done in its ``eval`` mode. All
    chance (of dropout, say) comes from a seed and a counter that are part of the snapshot, and torch's own generators are left
    as they were. Something the module keeps that is neither parameter nor buffer is not part of the snapshot.

    Parameters
    ----------
    module
        Freshly made, with all its weights. Parameters that do not require a gradient stay as they are.
    features, classes
        Width of a row, and number of classes.
    seed
        From 0 to below 2⁵³.
    name
        What errors call it.
    optimizer
        ``sgd``; ``momentum``; ``adam``; or a class of torch.optim with its settings.
    learning_rate
        Step of the optimizer.
    momentum
        μ of ``momentum``, and β₁ of ``adam``; from 0 to below 1. Others do not use it.
    chunked
        One step a chunk, on the mean of its rows' losses: many times faster, but what is learned then depends on how the stream
        was cut.
    device
        Where it computes: ``cpu``, ``cuda``, ``cuda:1``… A graphics card may give other bits than a processor, and not always the
        same ones.

    Raises
    ------
    SettingsError
        If there is nothing to learn, the answers have another shape, or there is no such optimizer or device.
    RequestError
        If a setting is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    >>> learner = TorchLearner(module, 2, 2, seed=1, learning_rate=0.3)
    >>> x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 1])
    >>> for _ in range(100):
    ...     learner.learn_many(x, y)
    >>> learner.predict(x).tolist(), sorted(learner.state())
    ([0, 1, 1, 1], ['draws', 'module.0.bias', 'module.0.weight', 'module.2.bias', 'module.2.weight'])
    """

    def __init__(
        self,
        module: torch.nn.Module,
        features: int,
        classes: int,
        *,
        seed: int,
        name: str = "torch",
        optimizer: Optimizer = "sgd",
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        chunked: bool = False,
        device: str = "cpu",
    ) -> None:
        self.features, self.classes, self.name = features, classes, name
        self.chunked = flag(name, "chunked", chunked)
        self._seed, self._steps = seed, 0
        self._device = checked_device(name, device)
        self.module = module.to(self._device)
        # Before the optimizer is made: a lazy layer has its weights only after it has seen a row.
        self._try_out()
        odd = [key for key, part in module.state_dict().items() if not isinstance(part, torch.Tensor)]
        if odd:
            what = f"the module keeps {odd[0]}, which is no tensor"
            raise SettingsError(what, where=f"learner {name}", remedy="keep what is learned in parameters and buffers")
        if not any(weights.requires_grad for weights in module.parameters()):
            raise SettingsError("the module has nothing to learn", where=f"learner {name}", remedy="give it parameters")
        rate, decay = positive(name, "learning_rate", learning_rate), within(name, "momentum", momentum, 0.0, 1.0, closed=True)
        self._kind, self._chosen = checked_optimizer(name, optimizer, rate, decay)
        self.optimizer = self._new_optimizer(self.module)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, one step a row; one step in all if ``chunked``.

        Raises
        ------
        LearnerError
            If the chunk does not fit, or the module raises. What was learned before is then unchanged.
        NotFiniteError
            If a value is not finite, or learning diverges. What was learned before is then unchanged.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        if not len(rows):
            return
        step = len(rows) if self.chunked else 1
        with self._all_or_nothing():
            for start in range(0, len(rows), step):
                self._step(rows[start : start + step], labels[start : start + step], start)
            self._check_finite(len(rows))

    def gradient(self, x: Features, y: Labels) -> torch.Tensor:
        """Sum of the gradients of all rows' losses, flat, and behind it how many rows there are; zeros if there are none.

        Learners that begin alike and `follow` the sum of what each says stay alike, as one that had all rows in one chunk; but
        what a module keeps beside its weights, such as running means, is each one's own.

        Raises
        ------
        LearnerError
            If the rows do not fit, or the module raises.
        """
        self.module.train()
        self.optimizer.zero_grad()
        if len(x):
            rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
            with self._chance(), self._blaming(0):
                wanted = torch.from_numpy(np.array(labels)).to(self._device)
                torch.autograd.backward(torch.nn.functional.cross_entropy(self._asked(rows), wanted, reduction="sum"))
        parts = [(torch.zeros_like(w) if w.grad is None else w.grad).flatten().double() for w in self._learning()]
        return torch.cat([*parts, torch.tensor([len(x)], dtype=torch.float64, device=self._device)])

    def follow(self, total: torch.Tensor) -> int:
        """Make a step of the optimizer along the mean of some gradients; return of how many rows.

        Raises
        ------
        NotFiniteError
            If it is not finite, or learning diverges. What was learned before is then unchanged.
        """
        if not bool(torch.isfinite(total).all()):
            raise self._diverged("one of its rows")
        rows, start = int(total[-1]), 0
        with self._all_or_nothing():
            for weights in self._learning() if rows else ():
                weights.grad = (total[start : start + weights.numel()] / rows).to(weights.dtype).view_as(weights)
                start += weights.numel()
            if rows:
                self.optimizer.step()
                self._steps += 1
                self._check_finite(rows)
        return rows

    def _learning(self) -> list[torch.nn.Parameter]:
        return [weights for weights in self.module.parameters() if weights.requires_grad]

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Answer each row, then learn from it, shape (n,); if ``chunked``, answer all rows before learning from them.

        Raises
        ------
        LearnerError, NotFiniteError
            As `learn_many`.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        if self.chunked or not len(rows):
            answers = self.predict(rows)
            self.learn_many(rows, labels)
            return answers
        answers = np.empty(len(rows), dtype=np.int64)
        with self._all_or_nothing():
            for row in range(len(rows)):
                answers[row] = softmax(self._scores(rows[row : row + 1], row)).argmax()
                self._step(rows[row : row + 1], labels[row : row + 1], row)
            self._check_finite(len(rows))
        return answers

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """The module's scores, shape (n, classes); for two classes the difference of both, shape (n,)."""
        scores = self._scores(x)
        return np.asarray(scores[:, 1] - scores[:, 0]) if self.classes == 2 else scores

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Softmax of the module's scores, shape (n, classes)."""
        return softmax(self._scores(x))

    def state(self) -> State:
        """Parameters and buffers as ``module.…``, the optimizer's memory as ``optimizer.…``, and ``draws``: seed and steps made.

        Raises
        ------
        StateError
            If NumPy has no such type of number, or the optimizer remembers what is no tensor.
        """
        tensors = {**self._tensors(), **memory(self.module, self.optimizer, self.name)}
        arrays = {key: array(tensor, key, self.name) for key, tensor in tensors.items()}
        return {**arrays, "draws": np.array([self._seed, self._steps], dtype=np.int64)}

    def load(self, state: State) -> None:
        """Replace everything learned, and the seed.

        Raises
        ------
        StateError
            If an array is missing, unknown, of another shape or type, or not finite. What was learned before is then unchanged.
        """
        wanted = {**self._tensors(), **self._remembered(state)}
        arrays = {key: array(tensor, key, self.name) for key, tensor in wanted.items()}
        check_fits(self.name, {**arrays, "draws": np.zeros(2, np.int64)}, state)
        if min(state["draws"]) < 0:
            raise StateError("draws of the snapshot are negative", where=self.name, remedy=SAME_SETTINGS)
        # Their own copies: the snapshot stays the caller's.
        fresh = {key: torch.from_numpy(np.array(state[key])).to(tensor.device) for key, tensor in wanted.items()}
        with torch.no_grad():
            for key, tensor in self._tensors().items():
                tensor.copy_(fresh[key])
        self.optimizer = self._new_optimizer(self.module)
        for weights_name, weights in self.module.named_parameters():
            prefix = f"optimizer.{weights_name}."
            part = {key.removeprefix(prefix): tensor for key, tensor in fresh.items() if key.startswith(prefix)}
            if part:
                self.optimizer.state[weights] = part
        self._seed, self._steps = (int(number) for number in state["draws"])

    def _step(self, rows: Features, labels: Labels, first: int) -> None:
        """One step of the optimizer, on the mean loss of some rows."""
        self.module.train()
        self.optimizer.zero_grad()
        with self._chance(), self._blaming(first):
            scores = self._asked(rows)
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(np.array(labels)).to(self._device))
            if not torch.isfinite(loss):
                raise self._diverged(f"row {first}")
            torch.autograd.backward(loss)
            self.optimizer.step()
        self._steps += 1

    def _scores(self, x: Features, first: int = 0) -> NDArray[np.float64]:
        rows = checked_rows(x, self.features, self.name)
        if not len(rows):
            return np.empty((0, self.classes))
        self.module.eval()
        with torch.no_grad(), self._chance(), self._blaming(first):
            scores = np.asarray(self._asked(rows).double().cpu().numpy())
        if not np.isfinite(scores).all():
            row = first + int(np.argwhere(~np.isfinite(scores))[0, 0])
            what = f"the module's scores of row {row} are not finite"
            raise NotFiniteError(what, where=self.name, remedy="scale the inputs to about 1")
        return scores

    def _asked(self, rows: Features) -> torch.Tensor:
        """The module's scores of rows, after making sure of their shape."""
        kind = next((w.dtype for w in self.module.parameters() if w.is_floating_point()), torch.get_default_dtype())
        scores = self.module(torch.from_numpy(np.array(rows)).to(self._device, kind))
        if not isinstance(scores, torch.Tensor) or scores.shape != (len(rows), self.classes):
            found = f"shape {tuple(scores.shape)}" if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise LearnerError(
                f"{type(self.module).__name__} answers {len(rows)} rows with {found}",
                where=self.name,
                remedy=f"return a score of each class, shape (n, {self.classes}), without softmax",
            )
        return scores

    def _try_out(self) -> None:
        """Ask once, so that a module which does not fit is refused where it is chosen."""
        try:
            self._scores(np.zeros((1, self.features)))
        except NotFiniteError:
            return  # a row of zeros says nothing of those to come
        except LearnerError as error:
            raise SettingsError(error.what, where=f"learner {self.name}", remedy=error.remedy) from error

    @contextlib.contextmanager
    def _chance(self) -> Iterator[None]:
        """All chance of one step, from the seed and the number of the step; torch's generators are put back after it."""
        with seeded(int(np.random.SeedSequence([self._seed, self._steps]).generate_state(1)[0]), self._device):
            yield

    @contextlib.contextmanager
    def _blaming(self, first: int) -> Iterator[None]:
        """Say of whatever a module raises where it did."""
        try:
            yield
        except LearnerError:
            raise
        except Exception as error:
            what = f"{type(self.module).__name__} raises at row {first}: {error}"
            raise LearnerError(what, where=self.name, remedy=_BATCH) from error

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Put everything back if learning fails."""
        steps = self._steps
        kept = [(tensor, tensor.clone()) for tensor in self._tensors().values()]
        memory = {weights: {key: _copy(part) for key, part in parts.items()} for weights, parts in self.optimizer.state.items()}
        try:
            yield
        except BaseException:
            self._steps = steps
            with torch.no_grad():
                for tensor, before in kept:
                    tensor.copy_(before)
            self.optimizer.state.clear()
            self.optimizer.state.update(memory)
            raise

    def _check_finite(self, rows: int) -> None:
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self._tensors().values()):
            raise self._diverged(f"row {rows - 1}")

    def _diverged(self, row: str) -> NotFiniteError:
        remedy = "lower learning_rate or scale the inputs to about 1; nothing of this chunk was learned"
        return NotFiniteError(f"learning diverged at {row}", where=self.name, remedy=remedy)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers, which share their memory with the module."""
        return {f"module.{key}": tensor.detach() for key, tensor in self.module.state_dict().items()}

    def _new_optimizer(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        try:
            return self._kind([weights for weights in module.parameters() if weights.requires_grad], **self._chosen)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"optimizer: {error}", where=f"learner {self.name}", remedy="see torch.optim") from error

    def _remembered(self, state: State) -> dict[str, torch.Tensor]:
        """What the optimizer would remember of each parameter that the snapshot has a memory of.

        It remembers nothing of a parameter before its first gradient; so one is shown to a copy.
        """
        if not any(key.startswith("optimizer.") for key in state):
            return {}
        module = copy.deepcopy(self.module)
        optimizer = self._new_optimizer(module)
        for weights in module.parameters():
            weights.grad = torch.zeros_like(weights) if weights.requires_grad else None
        optimizer.step()
        found: dict[str, torch.Tensor] = {}
        for weights_name, _ in module.named_parameters():
            prefix = f"optimizer.{weights_name}."
            if any(key.startswith(prefix) for key in state):
                every = memory(module, optimizer, self.name)
                found |= {key: tensor for key, tensor in every.items() if key.startswith(prefix)}
        return found


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's generators, of the processor and the device, and put them back as they were."""
    cards = [] if device is None or device.type == "cpu" else [device.index or 0]
    with torch.random.fork_rng(cards, device_type="cuda" if device is None or device.type == "cpu" else device.type):
        # Not by torch.manual_seed, which also looks for every kind of accelerator there is.
        torch.default_generator.manual_seed(seed)
        for card in cards:
            torch.cuda.default_generators[card].manual_seed(seed)
        yield


def _copy(part: Any) -> Any:
    return part.clone() if isinstance(part, torch.Tensor) else part
