"""What else must hold for a stage to end by its threshold: the floors of its gate, and what was learnt before."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.measures import Interval
from cluster.measures.forms import findings_of
from cluster.measures.headlines import measure_words
from cluster.run.choice.validation_answers import ValidationAnswers
from curriculum.stages import Gate, StageConfig
from rewards.findings.canonical import canonical


def below_floors(gate: Gate, answers: ValidationAnswers) -> list[str]:
    """The values that are below their floor, in words: "format 0.850 is below 0.9"."""
    floors = gate.floors
    found: list[tuple[str, float, float]] = []
    if floors.format is not None:
        formats = [result.verdict.format for result in answers.results(gate.measure, gate.families)]
        found.append(("format", sum(formats) / max(1, len(formats)), floors.format))
    for measure, floor in floors.measures.items():
        found.append((measure_words(measure), answers.scores(measure).measures()[measure][0], floor))
    if floors.recall:
        named = findings_of(answers.results("open_micro_f1"))
        for finding, floor in floors.recall.items():
            recall = named.recall([canonical(finding)])
            found.append((f"recall of {finding}", float(recall.value(recall.statistics.sum(0)[None])[0]), floor))
    return [f"{name} {value:.3f} is below {floor:g}" for name, value, floor in found if not value >= floor]


def forgotten(stage: StageConfig, changes: Mapping[str, Interval]) -> dict[str, str]:
    """The earlier stages whose measure fell by more than `stage.forget.drop`, with that in words.

    Args:
        changes: of the measure of each earlier stage since its end; a fall counts if the whole interval is beyond it.
    """
    if stage.forget is None:
        return {}
    drop = stage.forget.drop
    return {
        name: f"stage {name} lost {-value:.3f} [{-high:.3f}, {-low:.3f}] since its end, more than {drop:g}"
        for name, (value, low, high) in changes.items()
        if high < -drop
    }
