"""The charts of a run's report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup

from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_reader import RunRecord, duration, estimates
from cluster.record.timeline import STEP_PHASES
from cluster.reporting.charts import Level, Series, StageAxis, curves, stacks, whiskers

TRAINING: tuple[tuple[str, dict[str, str], str, dict[str, Any]], ...] = (
    (
        "Response length",
        {"response_tokens": "tokens"},
        "Mean tokens of a response. A steady climb to the limit, or a fall to almost nothing, is a warning.",
        {},
    ),
    (
        "Truncated responses",
        {"truncated": "share"},
        "Cut off at the length limit. It should stay near 0.",
        {"share": True},
    ),
    (
        "Flat groups",
        {"flat_groups": "share", "expected_signal": "expected signal"},
        "Groups whose responses all earn the same: they teach nothing about the answer. Near 1 the tasks are all "
        "too easy or all too hard. Expected signal is what adaptive sampling expected of the tasks: where answers are "
        "right or wrong, the share of groups that are not flat.",
        {"share": True},
    ),
    (
        "Entropy",
        {"entropy": "entropy"},
        "Nats per token. A slow fall is learning; at 0 nothing new is tried; a jump upwards is a policy that falls "
        "apart, or a new kind of question.",
        {},
    ),
    (
        "KL to the reference",
        {"kl": "KL"},
        "Mean k3 estimate per token; 0 throughout if the recipe has no KL term.",
        {},
    ),
    (
        "KL to the teacher",
        {"teacher_kl": "all"},
        "Mean k3 estimate per token of the policy's own responses. It falls while the policy learns from the teacher.",
        {},
    ),
    (
        "Accepted responses",
        {"accepted": "share"},
        "Of rejection sampling: right, and faultless in format. At 0 nothing is learnt; near 1 nothing is left to "
        "learn.",
        {"share": True},
    ),
    (
        "Log-probability difference",
        {"logp_diff_max": "largest", "logp_diff_mean": "mean"},
        "Between rollout and learner for the same token and weights: rounding only. A rise means that they do not hold "
        "the same weights.",
        {"log": True},
    ),
    ("Speed", {"tokens_per_s": "tokens/s"}, "Tokens of a step by the time spent on it, without evaluation.", {}),
)
"""Charts of the training: title, columns with their words, caption, style."""
_TAUGHT = "teacher_kl_"  # begins the columns of families


@dataclass(frozen=True)
class Figure:
    """A chart with its title, and a caption that says how to read it."""

    title: str
    svg: Markup
    caption: str


def timeline_of(record: RunRecord) -> StageAxis:
    """The stages of a run, each with the steps that it made."""
    logged = {row["stage"]: row["stage_step"] for row in record.metrics}  # may be newer than the summary
    return StageAxis({stage.name: max(stage.steps, logged.get(stage.name, 0)) for stage in record.stages})


def learnt_figures(record: RunRecord, guess: float | None) -> list[Figure]:
    """Each headline measure on the test and validation tasks, and what each stage gained.

    Args:
        guess: closed accuracy of a guess; None if unknown.
    """
    figures = []
    timeline = timeline_of(record)
    for measure, words in HEADLINES.items():
        test = tested(record, measure)
        if not test.points:
            continue
        series = [test]
        validated = record.points(measure, "val")
        if validated:
            series.append(Series("validation", validated, marked=True))
        levels = []
        for stage in record.stages:
            gate = stage.config.gate
            if gate.measure == measure and gate.threshold is not None:
                levels.append(Level("gate's threshold", gate.threshold, stage.name))
        if measure in record.baseline:
            levels.append(Level("view alone", record.baseline[measure].value))
        if measure == "closed_accuracy" and guess is not None:
            levels.append(Level("guessing", guess))
        title = words[0].upper() + words[1:]
        values = ", ".join(f"{stage} step {step} {value:.3f}" for stage, step, value in test.points)
        svg = curves(series, timeline, f"{title} on the test tasks: {values}.", levels=levels, share=True)
        figures.append(
            Figure(
                title,
                svg,
                "Test tasks where a stage starts and ends, with 95\u00a0% intervals; validation "
                "tasks decide the gate. Every stage has the same width.",
            )
        )
    gains = [(gain, gain.gain) for gain in record.gains if gain.gain]
    if gains:
        alt = "; ".join(f"{gain.stage}, {measure_words(gain.measure)} {value.signed}" for gain, value in gains)
        rows = [
            (f"{gain.stage}\n{measure_words(gain.measure)}", value.value, value.low, value.high)
            for gain, value in gains
        ]
        figures.append(
            Figure(
                "Gain of each stage",
                whiskers(rows, f"Gains with 95 % intervals: {alt}."),
                "Paired by test task, with 95\u00a0% intervals. One that includes 0 shows no clear change.",
            )
        )
    return figures


def tested(record: RunRecord, measure: str) -> Series:
    """The tests as a line.

    A stage that starts with the weights of the end of the one before adds one point, not two.
    """
    points: list[tuple[str, int, float]] = []
    intervals: list[tuple[float, float]] = []
    last = None
    for stage in record.stages:
        for when, step in (("start", 0), ("end", stage.steps)):
            measured = stage.evaluation.get(when, {})
            if measure in measured and measured["version"] != last:
                estimate, last = estimates(measured)[measure], measured["version"]
                points.append((stage.name, step, estimate.value))
                intervals.append((estimate.low, estimate.high))
    return Series("test", points, intervals, marked=True)


def training_figures(record: RunRecord) -> list[Figure]:
    """The numbers of every step in metrics.parquet. Charts without any value are left out."""
    timeline = timeline_of(record)
    supervised = [stage.name for stage in record.stages if stage.imitates]
    columns_of = dict.fromkeys(name for row in record.metrics for name in row)

    def figure(
        title: str, columns: dict[str, str], caption: str, *, stages: Collection[str] | None = None, **style: Any
    ) -> list[Figure]:
        """A chart with a line for each column; `columns` gives their words. Of all stages, or of some."""
        series = []
        for column, words in columns.items():
            points = [point for point in record.points(column) if stages is None or point[0] in stages]
            if points:
                series.append(Series(words, points))
        if not series:
            return []
        alt = "; ".join(f"{line.name} from {line.points[0][2]:.3g} to {line.points[-1][2]:.3g}" for line in series)
        return [Figure(title, curves(series, timeline, f"{title} over the steps: {alt}.", **style), caption)]

    training: list[Figure] = []
    taught = {name: name.removeprefix(_TAUGHT) for name in columns_of if name.startswith(_TAUGHT)}
    for title, columns, caption, style in TRAINING:
        training += figure(title, columns | (taught if "teacher_kl" in columns else {}), caption, **style)
    own = [name for name in columns_of if name.startswith("own_")]
    more = [name for name in ("reason", *own) if any(value for _, _, value in record.points(name))]
    parts = ["reward", "outcome", "format", "process", *more]
    return [
        *figure(
            "Reward and its parts",
            {name: name.removeprefix("own_") for name in parts},
            "Means over the responses of a step, which are sampled. Reward should rise with outcome; if only process "
            "or format rises, the model learns the form and not the answer.",
        ),
        *figure(
            "Supervised loss",
            {"loss": "loss"},
            "On gold traces or accepted responses. It falls fast, then slowly.",
            stages=supervised,
        ),
        *training,
    ]


def time_figures(record: RunRecord) -> list[Figure]:
    """How the time of the run, and of a step of each stage, was spent."""
    minutes = {name: spent / 60 for name, spent in record.phases.items() if spent > 0}
    alt = ", ".join(f"{name} {duration(60 * spent)}" for name, spent in minutes.items())
    figures = [
        Figure(
            "The whole run",
            stacks({"run": minutes}, "minutes", f"Time by phase: {alt}."),
            "Other is start-up and waiting.",
        )
    ]
    steps = {}
    for stage in record.stages:
        rows = [row for row in record.metrics if row["event"] == "step" and row["stage"] == stage.name]
        typical = {phase: median(row.get(f"seconds_{phase}") or 0 for row in rows) for phase in STEP_PHASES if rows}
        if any(typical.values()):
            steps[stage.name] = {phase: spent for phase, spent in typical.items() if spent}
    if steps:
        alt = "; ".join(
            f"{name}: " + ", ".join(f"{phase} {spent:.2f}" for phase, spent in row.items())
            for name, row in steps.items()
        )
        figures.append(
            Figure(
                "A step",
                stacks(steps, "seconds", f"Median seconds of a step by phase. {alt}."),
                "Median seconds of one step in each stage.",
            )
        )
    return figures
