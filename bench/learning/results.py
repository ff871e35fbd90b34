"""What runs measured: records as JSON, a table, a figure and transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from cluster.measures import Result, Scores
from cluster.measures.measure import mean
from cluster.measures.scores import Interval
from cluster.record.run_reader import RunRecord
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import Verdict

MEASURES = ("closed_accuracy", "open_micro_f1", "format_rate")
GROUNDING = "grounding"
RESAMPLES = 1000
SHOWN = 3  # transcripts of each family and kind

Records = dict[str, dict[str, dict[str, Any]]]
"""Seed and variant to the record of a run."""


def record(run: RunRecord, first: RunRecord) -> dict[str, Any]:
    """What a run gained. Values are [value, low, high], with the ends of the 95 % interval; gains are paired by task.

    Args:
        first: the run of the same seed by the experiment's first variant.

    Returns:
        `tests`: the scores at the end of each stage. `gains`: those over the first stage, at the end of each later one
        and of `model/`. `against_first`: the last test less that of the first variant. For each later stage: `curves`
        (responses so far, validation score), `flat_groups` and `responses`. `seconds` by phase.
    """
    scores = {stage.name: scores_of(run, stage.evaluation["end"]["version"]) for stage in run.stages}
    start, *later = scores
    chosen = run.stages[-1].evaluation.get("model")
    if chosen and later:
        scores["model"] = scores_of(run, chosen["version"])
        later.append("model")
    last = scores_of(first, first.stages[-1].evaluation["end"]["version"])
    generating = [stage for stage in run.stages if stage.generates]
    sampled = {stage.name: responses_a_step(run, stage.name) for stage in generating}
    return {
        "tests": {name: among(of.intervals()) for name, of in scores.items()},
        "gains": {name: among(scores[name].differences(scores[start])) for name in later},
        "against_first": among(scores[run.stages[-1].name].differences(last)),
        "curves": {
            stage.name: [[step * sampled[stage.name], round(score, 4)] for step, score in stage.scores]
            for stage in generating
        },
        "flat_groups": {stage.name: mean_of(run, stage.name, "flat_groups") for stage in generating},
        "responses": {stage.name: stage.steps * sampled[stage.name] for stage in generating},
        "steps": {stage.name: stage.steps for stage in run.stages},
        "seconds": {name: round(seconds) for name, seconds in run.summary["seconds"].items()},
    }


def results_of(run: RunRecord, version: int) -> list[Result]:
    """The test results of a version, in the order of the tasks' ids."""
    answers = run.answers(version)
    tasks = run.tasks(answers.keys())
    return [
        Result(task, answers[id]["response"], Verdict.from_dict(answers[id]["verdict"]))
        for id, task in sorted(tasks.items())
    ]


def scores_of(run: RunRecord, version: int) -> Scores:
    """The measures of a version, and the grounding of its steps in the tasks' reports if they have some."""
    results = results_of(run, version)
    scores = Scores(results, RESAMPLES)
    grounded = [grounding(result) for result in results]
    tasks = np.array([number for number, value in enumerate(grounded) if value is not None], int)
    if len(tasks):
        scores.paths["overall", GROUNDING] = mean(tasks, np.array([grounded[number] for number in tasks]))
    return scores


def grounding(result: Result) -> float | None:
    """The mean grounding of a response's steps in the report of its task; None without a report or a step that the
    report or the gold knows of.
    """
    if not result.task.report:
        return None
    judged = score(result.task.model_copy(update={"reference": result.task.report}), result.text, RewardConfig())
    values = [step.grounding for step in judged.steps if step.grounding is not None]
    return float(np.mean(values)) if values else None


def among(intervals: dict[tuple[str, ...], Interval]) -> dict[str, list[float]]:
    overall = {name: intervals.get(("overall", name)) for name in (*MEASURES, GROUNDING)}
    return {name: [round(value, 4) for value in found] for name, found in overall.items() if found}


def responses_a_step(run: RunRecord, stage: str) -> int:
    (training,) = (config["training"] for config in run.recipe["stages"] if config["name"] == stage)
    return int(training["tasks_per_step"] * training["group_size"])


def mean_of(run: RunRecord, stage: str, column: str) -> float:
    return round(float(np.mean([value for of, _, value in run.points(column) if of == stage])), 4)


def table(records: Records) -> str:
    """Markdown. For each variant: how many seeds, the last test scores, their gain over the supervised stage, their
    difference to the first variant, each as the mean with the smallest and largest of all seeds; the share of flat
    groups, responses and minutes.
    """
    variants = next(iter(records.values()))
    measured = next(iter(variants.values()))["against_first"]
    lines = [
        "| variant | seeds | "
        + " | ".join(f"{name} | gain | to the first" for name in measured)
        + " | flat groups | responses | minutes |",
        "|---" * (5 + 3 * len(measured)) + "|",
    ]
    for variant in variants:
        of = [by_variant[variant] for by_variant in records.values() if variant in by_variant]
        cells = [variant, str(len(of))]
        for name in measured:
            cells.append(f"{np.mean([list(one['tests'].values())[-1][name][0] for one in of]):.3f}")
            cells.append(spread([gain[name][0] for one in of for gain in list(one["gains"].values())[-1:]]))
            cells.append(
                spread([one["against_first"][name][0] for one in of]) if variant != next(iter(variants)) else ""
            )
        flat = [np.mean(list(one["flat_groups"].values())) for one in of if one["flat_groups"]]
        cells.append(f"{np.mean(flat):.2f}" if flat else "")
        cells.append(f"{np.mean([sum(one['responses'].values()) for one in of]):.0f}")
        cells.append(f"{np.mean([one['seconds']['all'] for one in of]) / 60:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Their mean, the smallest and the largest; nothing of none."""
    if not values:
        return ""
    return f"{np.mean(values):+.3f} [{min(values):+.3f}, {max(values):+.3f}]"


def figure(records: Records, path: Path) -> None:
    """The validation score of each stage over its responses: thin lines for seeds, thick ones for their mean."""
    first = next(iter(records.values()))
    stages = list(next(iter(first.values()))["curves"])
    if not stages:
        return
    fig, axes = plt.subplots(1, len(stages), figsize=(4.5 * len(stages), 3.4), layout="constrained", squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        for number, variant in enumerate(first):
            curves = [variants[variant]["curves"][stage] for variants in records.values() if variant in variants]
            for one in curves:
                axis.plot(*zip(*one, strict=True), color=f"C{number}", alpha=0.3, linewidth=1)
            shortest = min(len(one) for one in curves)
            middle = np.mean([one[:shortest] for one in curves], axis=0)
            axis.plot(middle[:, 0], middle[:, 1], color=f"C{number}", linewidth=2.5, label=variant)
        axis.set(title=f"{stage} stage", xlabel="responses", ylabel="validation score")
        axis.grid(alpha=0.3)
    axes[0][0].legend(frameon=False)
    fig.savefig(path, dpi=150)
    plt.close(fig)


def transcripts(run: RunRecord) -> str:
    """Some answers that reinforcement learning put right, and some that it made wrong, with the end of each prompt."""
    versions = [run.stages[at].evaluation["end"]["version"] for at in (0, -1)]
    before, after = (results_of(run, version) for version in versions)
    shown: dict[tuple[str, str], list[str]] = {}
    for old, new in zip(before, after, strict=True):
        change = new.verdict.outcome - old.verdict.outcome
        if change:
            kind = "better" if change > 0 else "worse"
            words = [f"{old.task.asked}", f"gold: {', '.join(old.task.gold) or 'none'}", f"before: {old.text}"]
            shown.setdefault((kind, old.task.family), []).append("\n".join([*words, f"after: {new.text}"]))
    return "\n\n".join(
        f"== {family}, {kind}: {len(texts)}\n\n" + "\n\n".join(texts[:SHOWN])
        for (kind, family), texts in sorted(shown.items())
    )
