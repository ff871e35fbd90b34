"""What runs of recipes/reports_smollm2.yaml gained over their supervised stage, seed by seed.

    python -m bench.reports_smollm2 docs/reports-smollm2.json runs/reports_smollm2 runs/reports_smollm2_1 …

Trains nothing: it reads finished run folders. It writes scores, paired gains and times as JSON, and prints a table and
a few answers before and after reinforcement learning.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cluster.measures import Result, Scores
from cluster.record.run_reader import RunRecord
from rewards.verdict import Verdict

MEASURES = ("closed_accuracy", "open_micro_f1", "format_rate")
SHOWN = 3  # answers of each family, and of each kind: put right, made wrong


def results_of(run: RunRecord, version: int) -> list[Result]:
    """The test results of a version, in the order of the tasks' ids."""
    answers = run.answers(version)
    tasks = run.tasks(answers.keys())
    return [
        Result(task, answers[id]["response"], Verdict.from_dict(answers[id]["verdict"]))
        for id, task in sorted(tasks.items())
    ]


def record(run: RunRecord) -> dict[str, Any]:
    """Scores where each stage ends, and the gain of the run's last test over the end of the supervised stage."""
    versions = {stage.name: stage.evaluation["end"]["version"] for stage in run.stages}
    scores = {stage: Scores(results_of(run, version), 1000) for stage, version in versions.items()}
    first, last = run.stages[0].name, run.stages[-1].name
    gain = scores[last].gain_over(scores[first])
    tasks = results_of(run, versions[last])
    return {
        "tests": {stage: {name: of.measures()[name] for name in MEASURES} for stage, of in scores.items()},
        "gain": {name: gain[name] for name in MEASURES},
        "tasks": {domain: sum(result.task.domain == domain for result in tasks) for domain in ("closed", "open")},
        "steps": {stage.name: stage.steps for stage in run.stages},
        "seconds": {name: round(seconds) for name, seconds in run.summary["seconds"].items()},
        "logp_diff_mean": max(value for _, _, value in run.points("logp_diff_mean")),
    }


def table(records: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row for each seed."""
    lines = []
    for seed, of_seed in records.items():
        cells = [seed]
        for name in MEASURES[:2]:
            cells += [f"{test[name][0]:.3f}" for test in of_seed["tests"].values()]
            value, low, high = of_seed["gain"][name]
            cells.append(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]")
        cells.append(f"{of_seed['seconds']['all'] / 60:.0f} min")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def transcripts(run: RunRecord) -> str:
    """Answers that reinforcement learning put right, and some that it made wrong, with the end of each prompt."""
    versions = [run.stages[at].evaluation["end"]["version"] for at in (0, -1)]
    before, after = (results_of(run, version) for version in versions)
    shown: dict[tuple[str, str], list[str]] = {}
    for old, new in zip(before, after, strict=True):
        change = new.verdict.outcome - old.verdict.outcome
        if change:
            kind = "better" if change > 0 else "worse"
            words = [f"{old.task.asked}", f"gold: {', '.join(old.task.gold) or 'none'}", f"before: {old.response}"]
            shown.setdefault((kind, old.task.family), []).append("\n".join([*words, f"after: {new.response}"]))
    return "\n\n".join(
        f"== {family}, {kind}: {len(texts)}\n\n" + "\n\n".join(texts[:SHOWN])
        for (kind, family), texts in sorted(shown.items())
    )


def main(out: Path, folders: list[Path]) -> None:
    runs = [RunRecord(folder) for folder in folders]
    records = {str(run.recipe["seed"]): record(run) for run in runs}
    out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(table(records))
    print(transcripts(runs[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
