"""How many groups adaptive sampling needs to teach as much as uniform sampling, with simulated learners.

    python -m bench.sampling [--seeds 3] [--groups 4800] [--json]

The sampler is the real one; the learners are simulated: no model, no film, no reward rule. A task is answered right
with the chance 1 / (1 + e^(difficulty − skill)); a group teaches in proportion to the variance of its outcomes, its
finding most and its family a little. So these numbers say what the sampler can do if learners are like that, not what a
run gains. Populations:

- `mixed`: difficulties from very easy to hopeless, within every finding;
- `by finding`: the same, but alike within a finding;
- `often solved`: nine tasks in ten are nearly always answered right;
- `alike`: every task is of middling difficulty: there is nothing to choose.

For each, over several seeds: the share of flat groups; the mean pass rate of all tasks at the start and at the end; and
the groups that adaptive sampling needed for half, and for nine tenths, of what uniform sampling gained in all, divided
by those that uniform sampling needed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from curriculum.sampler import Outcome, Sampler
from curriculum.sampling.choice import Adaptive
from curriculum.sets.task_table import TaskTable
from curriculum.task import Task

TASKS, FINDINGS, GROUP_SIZE, TASKS_PER_STEP = 4000, 20, 8, 32
FINDING_GAIN, FAMILY_GAIN = 0.05, 0.003  # skill for a group of the largest variance
EVERY = 5  # steps between measurements
Difficulties = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""Takes the finding of each task, and gives its difficulty."""

POPULATIONS: dict[str, Difficulties] = {
    "mixed": lambda rng, findings: rng.normal(2, 4, len(findings)),
    "by finding": lambda rng, findings: rng.normal(2, 4, FINDINGS)[findings] + rng.normal(0, 0.5, len(findings)),
    "often solved": lambda rng, findings: np.where(
        rng.random(len(findings)) < 0.9, -5, rng.normal(2, 1, len(findings))
    ),
    "alike": lambda rng, findings: rng.normal(1, 0.5, len(findings)),
}


def tasks_of(findings: np.ndarray) -> TaskTable:
    """Open tasks, each about one finding."""
    return TaskTable.of(
        Task(id=str(n), domain="open", family="names", question="?", gold=(f"finding {f}",), images=("x.png",))
        for n, f in enumerate(findings)
    )


def learn(
    table: TaskTable, findings: np.ndarray, difficulties: np.ndarray, adaptive: bool, seed: int, groups: int
) -> tuple[np.ndarray, float]:
    """Trains on so many groups. Returns the mean pass rate of all tasks every few steps, and the share of flat ones."""
    rng = np.random.default_rng([seed, 1])  # of the answers
    sampler, how = Sampler(table, seed), Adaptive("only", GROUP_SIZE)
    skill, family_skill, flat, curve = np.zeros(FINDINGS), 0.0, 0, []
    for step in range(groups // TASKS_PER_STEP):
        if step % EVERY == 0:
            curve.append(float(np.mean(1 / (1 + np.exp(difficulties - skill[findings] - family_skill)))))
        outcomes = []
        for task, _ in sampler.draw({"names": 1.0}, TASKS_PER_STEP, (), how if adaptive else None):
            number = int(task.id)
            rate = 1 / (1 + np.exp(difficulties[number] - skill[findings[number]] - family_skill))
            outcomes.append(Outcome(task, (rng.random(GROUP_SIZE) < rate).astype(float).tolist(), False))
        for outcome in outcomes:
            signal = 4 * float(np.var(outcome.outcomes))
            flat += signal == 0
            skill[findings[int(outcome.task.id)]] += FINDING_GAIN * signal
            family_skill += FAMILY_GAIN * signal
        if adaptive:
            sampler.observe(outcomes, step, how)
    return np.array(curve), flat / groups


def compare(name: str, seed: int, groups: int) -> dict[str, float]:
    """Both ways on one population."""
    rng = np.random.default_rng(seed)
    frequency = np.geomspace(1, 0.05, FINDINGS)
    findings = rng.choice(FINDINGS, TASKS, p=frequency / frequency.sum())
    difficulties = POPULATIONS[name](rng, findings)
    table = tasks_of(findings)
    uniform, flat_uniform = learn(table, findings, difficulties, False, seed, groups)
    adaptive, flat_adaptive = learn(table, findings, difficulties, True, seed, groups)
    return {
        "flat_uniform": flat_uniform,
        "flat_adaptive": flat_adaptive,
        "start": uniform[0],
        "end_uniform": uniform[-1],
        "end_adaptive": adaptive[-1],
        "half": _needed(adaptive, uniform, 0.5) / _needed(uniform, uniform, 0.5),
        "nine_tenths": _needed(adaptive, uniform, 0.9) / _needed(uniform, uniform, 0.9),
    }


def _needed(curve: np.ndarray, uniform: np.ndarray, share: float) -> float:
    """Measurements until a curve has a share of uniform sampling's gain; in a straight line between two of them."""
    goal = uniform[0] + share * (uniform[-1] - uniform[0])
    after = int(np.argmax(curve >= goal)) if (curve >= goal).any() else len(curve) - 1
    before = curve[after - 1]
    return after - 1 + float((goal - before) / (curve[after] - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=4800)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    for name in POPULATIONS:
        rows = [compare(name, seed, args.groups) for seed in range(args.seeds)]
        results[name] = {key: round(float(np.mean([row[key] for row in rows])), 3) for key in rows[0]}
        if not args.json:
            print(f"{name:<14}", "  ".join(f"{key} {value:.3f}" for key, value in results[name].items()), flush=True)
    if args.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
