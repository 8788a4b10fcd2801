"""Bandits beside River's: regret on the same problems, and decisions per CPU second.

Run: python benchmarks/bandits.py [--rounds 5000] [--seeds 20]

Regret is what always pulling the best arm (for the context) would have been expected to bring more than the arms that were pulled.
Each seed has its problem, the same for both sides, the rewards of all arms drawn beforehand: 0 or 1, with means from U(0, 1); for
LinUCB a weight vector an arm, contexts of length 1 on average, and a noise of 0.1 on rewards, over a fifth of the rounds. Printed
are means ± standard deviations over seeds. ``apart`` is the mean difference, seed by seed, ± its standard error.

A decision is a choice and the learning of its reward. ``limit`` is the same loop around a bandit that does nothing: what calls
cost. Forecasters have no peer in River: beside them stands NumPy, written as in the papers.

Last come learners of classes made of such: errors on SEA and LED with drift, and rows per CPU second in chunks of 64. Their limit
is what their members cost alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import mean, stdev
from typing import Any

import numpy as np
from river import bandit as theirs
from river import proba

from estran.learning import registry
from estran.learning.bandits.bandit import create
from estran.learning.experts.forecaster import create as create_forecaster
from estran.learning.streams.classic import Led, Sea
from estran.learning.team import answers_then_learned

ARMS, FEATURES, NOISE, BUDGET, WARM = 10, 10, 0.1, 0.3, 20
PAIRS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "epsilon-greedy": ("epsilon-greedy", lambda seed: theirs.EpsilonGreedy(epsilon=0.1, seed=seed)),
    "ucb1": ("ucb1", lambda seed: theirs.UCB(delta=1.0, seed=seed)),
    "thompson": ("thompson", lambda seed: theirs.ThompsonSampling(reward_obj=proba.Beta(), seed=seed)),
    "exp3, gamma .1": ({"exp3": {"gamma": 0.1}}, lambda seed: theirs.Exp3(gamma=0.1, seed=seed)),
    "exp3": ("exp3", lambda seed: theirs.Exp3(gamma=0.1, seed=seed)),
    "linucb": ({"linucb": {"features": FEATURES}}, lambda seed: theirs.LinUCBDisjoint(alpha=1.0, seed=seed)),
}


class Ours:
    """One of ours: a choice, and what it brought."""

    def __init__(self, choice: Any, seed: int) -> None:
        self.bandit: Any = create(choice, ARMS, np.random.default_rng(seed))

    def step(self, context: Any, rewards: Any) -> int:
        arm = self.bandit.choose(context)
        self.bandit.learn(context, arm, rewards[arm])
        return arm


class Rivers:
    """One of River's."""

    def __init__(self, policy: Any, contextual: bool) -> None:
        self.policy, self.arms, self.contextual = policy, list(range(ARMS)), contextual

    def step(self, context: Any, rewards: Any) -> int:
        if self.contextual:
            named = dict(enumerate(context.tolist()))
            arm = self.policy.pull(self.arms, named)
            self.policy.update(arm, named, rewards[arm])
        else:
            arm = self.policy.pull(self.arms)
            self.policy.update(arm, rewards[arm])
        return int(arm)


class Nothing:
    """A bandit that neither chooses nor learns."""

    def choose(self, context: Any = None) -> int:
        return 0

    def learn(self, context: Any, arm: int, reward: float) -> None:
        return


class Idle(Ours):
    """What calling costs."""

    def __init__(self) -> None:
        self.bandit: Any = Nothing()


def problem(seed: int, rounds: int, contextual: bool) -> tuple[Any, Any, Any]:
    """Contexts, rewards of all arms, and their expectations, a row a round."""
    rng = np.random.default_rng(seed)
    if contextual:
        contexts = rng.normal(size=(rounds, FEATURES)) / FEATURES**0.5
        expected = contexts @ rng.normal(size=(FEATURES, ARMS))
        return contexts, expected + NOISE * rng.normal(size=expected.shape), expected
    expected = np.tile(rng.random(ARMS), (rounds, 1))
    return [None] * rounds, (rng.random(expected.shape) < expected).astype(float), expected


def regret(player: Any, contexts: Any, rewards: Any, expected: Any) -> float:
    rows, lost = rewards.tolist(), 0.0
    for t, row in enumerate(rows):
        lost += expected[t].max() - expected[t, player.step(contexts[t], row)]
    return float(lost)


def speed(make: Callable[[], Any], contexts: Any, rewards: Any) -> float:
    """Decisions per CPU second in the first rounds after those that pull every arm once, the best of three."""
    rows, found = rewards.tolist(), []
    for _ in range(3):
        done, spent = 0, 0.0
        while spent < BUDGET:
            # A fresh one each time: River's Exp3 overflows after some ten thousand rewards.
            player = make()
            for t in range(WARM):
                player.step(contexts[t], rows[t])
            start = time.process_time()
            for t in range(WARM, len(rows)):
                player.step(contexts[t], rows[t])
            spent += time.process_time() - start
            done += len(rows) - WARM
        found.append(done / spent)
    return max(found)


def bandits(rounds: int, seeds: int) -> None:
    print(f"{ARMS} arms, {rounds} rounds, {seeds} seeds; linucb with {FEATURES} features")
    print(f"{'':16}{'regret, ours':>18}{'River':>18}{'apart':>18}{'decisions/s':>14}{'River':>10}{'ratio':>8}")
    for name, (choice, peer) in PAIRS.items():
        contextual = name == "linucb"
        ours, river = [], []
        # With contexts, River needs milliseconds for a decision.
        length = rounds // 5 if contextual else rounds
        for seed in range(seeds):
            given = problem(seed, length, contextual)
            ours.append(regret(Ours(choice, seed), *given))
            river.append(regret(Rivers(peer(seed), contextual), *given))
        apart = [a - b for a, b in zip(ours, river, strict=True)]
        contexts, rewards, _ = problem(0, 100 if contextual else 1000, contextual)
        fast = speed(partial(Ours, choice, 0), contexts, rewards)
        slow = speed(lambda: Rivers(peer(0), contextual), contexts, rewards)  # noqa: B023 - called before the loop goes on
        print(
            f"{name:16}{mean(ours):10.1f} ± {stdev(ours):5.1f}{mean(river):10.1f} ± {stdev(river):5.1f}"
            f"{mean(apart):+10.1f} ± {stdev(apart) / seeds**0.5:5.1f}{fast:14,.0f}{slow:10,.0f}{fast / slow:8.1f}",
            flush=True,
        )
    contexts, rewards, _ = problem(0, 1000, False)
    print(f"{'limit: calls':16}{speed(Idle, contexts, rewards):68,.0f}")


class Plain:
    """Hedge and the perturbed leader in NumPy."""

    def __init__(self, method: str) -> None:
        self.method, self.past, self.rng = method, np.zeros(ARMS), np.random.default_rng(0)

    def choose(self) -> int:
        if self.method == "ftpl":
            return int((self.past - self.rng.exponential(10.0, size=ARMS)).argmin())
        shares = np.exp(-0.1 * (self.past - self.past.min()))
        return int(self.rng.choice(ARMS, p=shares / shares.sum()))

    def learn(self, losses: Any) -> None:
        self.past += losses


def forecasters() -> None:
    losses = np.random.default_rng(0).random((20_000, ARMS))
    print(f"\n{ARMS} experts{'':6}{'choose + learn/s':>18}{'NumPy':>10}{'ratio':>8}{'learn_many/s':>16}")
    for name, choice in (("hedge", {"hedge": {"eta": 0.1}}), ("ftpl", {"ftpl": {"epsilon": 0.1}})):
        found = []
        for forecaster in (create_forecaster(choice, ARMS, np.random.default_rng(0)), Plain(name)):
            best = 0.0
            for _ in range(3):
                start = time.process_time()
                for row in losses[:5000]:
                    forecaster.choose()
                    forecaster.learn(row)
                best = max(best, 5000 / (time.process_time() - start))
            found.append(best)
        many = create_forecaster(choice, ARMS, np.random.default_rng(0))
        start = time.process_time()
        for _ in range(50):
            many.learn_many(losses)
        bulk = 50 * len(losses) / (time.process_time() - start)
        print(f"{name:16}{found[0]:18,.0f}{found[1]:10,.0f}{found[0] / found[1]:8.1f}{bulk:16,.0f}", flush=True)


MEMBERS: list[Any] = ["arow", {"pa1": {"c": 0.01}}, {"pa1": {"c": 1.0}}, {"softmax": {"learning_rate": 0.02}}]
TEAMS: dict[str, Any] = {
    "hedged": {"hedged": {"learners": MEMBERS}},
    "hedged, share": {"hedged": {"learners": MEMBERS, "eta": 0.2, "share": 0.001}},
    "hedged, log": {"hedged": {"learners": MEMBERS, "loss": "log"}},
    "exp3-selected": {"exp3-selected": {"learners": MEMBERS}},
    "... chosen": {"exp3-selected": {"learners": MEMBERS, "learning": "chosen"}},
    "banditron": "banditron",
    "perceptron": "perceptron",
}


def errors(choice: Any, stream: Any, seed: int, rows: int) -> tuple[float, float]:
    """Share of wrong answers, and rows per CPU second."""
    learner: Any = registry.create(choice, stream.features, stream.classes, np.random.default_rng(seed))
    chunks = list(stream.chunks(np.random.default_rng(seed), size=64, rows=rows))
    start = time.process_time()
    wrong = sum(int((answers_then_learned(learner, x, y) != y).sum()) for x, y in chunks)
    return wrong / rows, rows / (time.process_time() - start)


def teams(seeds: int, rows: int = 20_000) -> None:
    streams = {"SEA": Sea(block=rows // 4, noise=0.1), "LED": Led(period=rows // 4)}
    print(f"\n{'errors, %':16}" + "".join(f"{name:>14}{'rows/s':>12}" for name in streams) + f"   {seeds} seeds, {rows} rows")
    single = dict(zip(("arow", "pa1, c .01", "pa1, c 1", "softmax"), MEMBERS, strict=True))
    cost = dict.fromkeys(streams, 0.0)
    for label, choice in (single | TEAMS).items():
        line = f"{label:16}"
        for name, stream in streams.items():
            found = [errors(choice, stream, seed, rows) for seed in range(seeds)]
            wrong, fast = [100 * share for share, _ in found], max(rate for _, rate in found)
            line += f"{mean(wrong):8.2f} ± {stdev(wrong):3.1f}{fast:12,.0f}"
            cost[name] += 1 / fast if label in single else 0.0
        print(line, flush=True)
    print(f"{'limit: members':16}" + "".join(f"{1 / spent:26,.0f}" for spent in cost.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    bandits(given.rounds, given.seeds)
    forecasters()
    teams(max(2, given.seeds // 4))


if __name__ == "__main__":
    main()
