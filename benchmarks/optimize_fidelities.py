"""draft"""
from __future__ import annotations
import sys, time, statistics
from dataclasses import replace
import numpy as np
import optuna
from benchmarks.fidelity_problems import *
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.pareto import on_front as front_of, hypervolume as volume
from estran.optimize.single import Single
from estran.optimize.sampling import Sampling
from estran.optimize.strategy import Told

optuna.logging.set_verbosity(optuna.logging.ERROR)

def run(problem, fidelity, levels, rng):
    truth = problem.models[fidelity](levels)
    return {n: v * float(1 + problem.noise * rng.normal()) for n, v in truth.items()}

def told(problem, fidelity, values):
    g = problem.goals
    try:
        c, v = g.costs(values), g.violations(values)
    except KeyError:
        c = v = None
    return Told("done", c, v, problem.seconds[fidelity], values)

def quality(problem, runs, beyond):
    """HV of truth at points on the observed front"""
    g = problem.goals
    groups = {}
    for levels, values in runs:
        groups.setdefault(str(sorted(levels.items())), (levels, []))[1].append(values)
    pts = []
    for levels, vs in groups.values():
        mean = {n: float(np.mean([v[n] for v in vs])) for n in vs[0]}
        if all(x <= 0 for x in g.violations(mean)):
            pts.append((g.costs(mean), levels))
    if not pts: return 0.0
    front = front_of(np.array([p[0] for p in pts]))
    true = []
    for keep, (_, levels) in zip(front, pts):
        if keep:
            t = problem.models["emulate"](levels)
            tv = g.violations(t)
            # noise may make a point look feasible: allowed within the noise
            if all(x <= 0.03*abs(l.bound) for x, l in zip(tv, g.limits)): true.append(g.costs(t))
    return volume(np.array(true), beyond) if true else 0.0

def exhaustive(problem, rng):
    if all(f.range is None or f.range.step is not None or f.range.whole for f in problem.factors) and np.prod([len(levels_of(f)) if (f.range is None or f.range.step) else 99 for f in problem.factors]) < 20000:
        pts = problem.grid()
    else:
        from estran.optimize.fidelities.candidates import Cube
        cube = Cube.of(problem.space)
        pts = cube.spread(8192, rng)
        if problem.name.startswith("dtlz"):
            pts = [{**{f"x{i}": .6 for i in range(8)}, "x0": v} for v in np.linspace(0,1,400)]
    g = problem.goals
    vals = [problem.models["emulate"](p) for p in pts]
    ok = [v for v in vals if all(x <= 0 for x in g.violations(v))]
    costs = np.array([g.costs(v) for v in ok])
    front = costs[front_of(costs)]
    worst = np.maximum(front.max(0), g.costs(problem.models["emulate"](problem.space.default)))
    beyond = worst + .1 * (worst - front.min(0))
    return len(pts), beyond, volume(costs, beyond)

def multi(problem, seed, budget, trials, names=None, trace=None):
    rng = np.random.default_rng([seed, 77])
    names = names or list(problem.models)
    s = MultiFidelity(problem.space, problem.goals, Ladder(tuple(Rung(n) for n in names)), single(problem, seed, trials), trials=trials, seed=seed)
    clock, runs, counts, asks = 0.0, [], {n: 0 for n in names}, []
    while True:
        t = time.perf_counter()
        ask = s.ask()
        asks.append(time.perf_counter() - t)
        if ask is None: break
        s.recall(ask)
        clock += problem.seconds[ask.fidelity]
        if clock > budget: break
        values = run(problem, ask.fidelity, ask.levels, rng)
        counts[ask.fidelity] += 1
        if ask.fidelity == names[-1]: runs.append((ask.levels, values))
        if trace is not None: trace.append((ask, values))
        s.tell(ask.number, told(problem, ask.fidelity, values))
    return runs, counts, max(asks), [t.words("emulate") for t in s.trusts([*problem.goals.goals, *problem.goals.limits])]

def single(problem, seed, trials):
    drawn = Sampling(problem.space, problem.goals, sampler="tpe", seed=seed, budget=trials)
    return Single(problem.space, problem.goals, drawn, fidelity="emulate", budget=trials, replicates=1, seed=seed)

def tpe(problem, seed, budget):
    rng = np.random.default_rng([seed, 78])
    runs, trials = [], int(budget // problem.seconds["emulate"])
    s = single(problem, seed, trials)
    while (ask := s.ask()) is not None:
        s.recall(ask)
        values = run(problem, "emulate", ask.levels, rng)
        runs.append((ask.levels, values))
        s.tell(ask.number, told(problem, "emulate", values))
    return runs

if __name__ == "__main__":
    which = sys.argv[1].split(","); seeds = int(sys.argv[2]); T = int(sys.argv[3])
    allp = {"bc": branin_currin(None), "bcg": branin_currin(1/16), "dep": deployment(False), "depg": deployment(True), "pools": pools(), "many": many()}
    for name in which:
        p = allp[name.removesuffix("-r")]
        if name.endswith("-r"):
            p = replace(p, models={"simulate": reversed_(p.models["emulate"]), "emulate": p.models["emulate"]})
        n, beyond, best = exhaustive(p, np.random.default_rng(1))
        print(name, "exhaustive", n, flush=True)
        wins, A, B = 0, [], []
        for seed in range(seeds):
            t0=time.time()
            runs, counts, slow, words = multi(p, seed, T * 20.0, 10**6)
            t1=time.time()
            other = tpe(p, seed, T * 20.0)
            a, b = quality(p, runs, beyond) / best, quality(p, other, beyond) / best
            A.append(a); B.append(b)
            print(f"  seed {seed} mf {a:.3f} tpe {b:.3f} {counts} slowest ask {slow:.2f} total {t1-t0:.0f}s", "" if seed else words, flush=True)
        print(f"{name}: median mf {np.median(A):.3f} tpe {np.median(B):.3f} wins {sum(x>y for x,y in zip(A,B))}/{seeds} min {min(A):.3f}", flush=True)
