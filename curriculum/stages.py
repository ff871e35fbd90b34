"""The curriculum: which stage a run is in, and when it moves on. A deterministic state machine without clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, PositiveInt, model_validator

from curriculum.choice import KeyOf
from curriculum.strict import Strict

GATE_FORMS: dict[str, str] = {"closed_accuracy": "letters", "open_micro_f1": "names"}
"""Measures that a gate may use, each with the form of the tasks on which it is measured."""
Measure = Annotated[str, KeyOf(GATE_FORMS)]
Reason = Literal["threshold", "plateau", "maximum"]
Share = Annotated[float, Field(ge=0, le=1)]


class Plateau(Strict):
    """The last `evaluations` evaluations gained less than `min_gain` over the best one before them."""

    evaluations: PositiveInt = 3
    min_gain: float = Field(0.01, ge=0)


class Floors(Strict):
    """The lowest values with which a stage may end by its threshold."""

    format: Share | None = Field(None, description="share of sound formats among the answers that the gate measures")
    measures: dict[Measure, Share] = Field({}, description="measure that a gate may use: its lowest value")
    recall: dict[str, Share] = Field(
        {}, description="finding: its lowest recall in the answers to open validation tasks"
    )


class Gate(Strict):
    """When a stage ends. It is measured on the validation split every `every` steps, from `min_steps` on."""

    measure: Measure
    families: tuple[str, ...] = Field(
        (), description="of the validation tasks that are asked; all whose answers have the measure's form if left out"
    )
    every: PositiveInt = 10
    min_steps: int = Field(0, ge=0)
    max_steps: PositiveInt
    threshold: float | None = Field(None, gt=0, le=1)
    floors: Floors = Floors()
    plateau: Plateau | None = None

    @model_validator(mode="after")
    def _order(self) -> Gate:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps {self.min_steps} is above max_steps {self.max_steps}")
        return self

    def reason(self, step: int, scores: Sequence[float], held_back: bool = False) -> Reason | None:
        """Why the stage ends after `step` steps with these scores so far, the newest last; None if it goes on.

        Args:
            held_back: whether something keeps the newest score from ending the stage by the threshold.
        """
        if step >= self.min_steps and scores:
            if self.threshold is not None and scores[-1] >= self.threshold and not held_back:
                return "threshold"
            if self.plateau is not None and len(scores) > self.plateau.evaluations:
                recent = scores[-self.plateau.evaluations :]
                before = scores[: -self.plateau.evaluations]
                if max(recent) < max(before) + self.plateau.min_gain:
                    return "plateau"
        return "maximum" if step >= self.max_steps else None


class Forget(Strict):
    """What is done if a version scores lower in the measure of an earlier stage than that stage did at its end."""

    drop: float = Field(
        0.05, gt=0, lt=1, description="the fall that counts: the paired 95 % interval has only larger ones"
    )
    do: Literal["rehearse", "roll_back", "warn"] = Field(
        "rehearse",
        description="rehearse: raise the share of rehearsal until it is made good; roll_back: to the best commit of "
        "the stage, with a tenth of the learning rate",
    )
    up_to: float = Field(0.5, gt=0, lt=1, description="the largest share of rehearsal")


class StageConfig(Strict):
    """What a stage asks: families of tasks with weights, and which share of its tasks rehearses earlier stages."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    kind: str
    tasks: dict[str, float] = Field(min_length=1, description="family of tasks: weight")
    rehearsal: float = Field(0.0, ge=0, lt=1)
    rehearse: dict[str, float] = Field({}, description="family of tasks: weight, of the rehearsed share")
    sources: tuple[str, ...] = Field((), description="names of data.sources to draw from; all where left out")
    gate: Gate
    forget: Forget | None = Field(None, description="a look at the measures of earlier stages at every evaluation")

    @model_validator(mode="after")
    def _weights(self) -> StageConfig:
        if min(self.tasks.values()) < 0 or sum(self.tasks.values()) <= 0:
            raise ValueError("the weights of tasks must not be negative, and one must be above 0")
        if bool(self.rehearse) != (self.rehearsal > 0):
            raise ValueError("rehearsal needs both a share above 0 and the families to rehearse")
        if self.rehearse and (min(self.rehearse.values()) < 0 or sum(self.rehearse.values()) <= 0):
            raise ValueError("the weights of rehearse must not be negative, and one must be above 0")
        return self

    @property
    def mixture(self) -> dict[str, float]:
        """Family to its share of the stage's tasks; the shares sum to 1."""

        def shares(weights: dict[str, float], total: float) -> dict[str, float]:
            return {family: total * weight / sum(weights.values()) for family, weight in weights.items()}

        mixture = shares(self.tasks, 1 - self.rehearsal)
        for family, share in shares(self.rehearse, self.rehearsal).items():
            mixture[family] = mixture.get(family, 0) + share
        return mixture


@dataclass
class StageRecord:
    """A stage as it went: steps done, scores by step, and why it ended.

    Attributes:
        held_back: what kept the newest score from ending it by the threshold, in words.
    """

    name: str
    kind: str
    steps: int = 0
    scores: list[tuple[int, float]] = field(default_factory=list)
    reason: Reason | None = None
    held_back: list[str] = field(default_factory=list)


S = TypeVar("S", bound=StageConfig)


class Curriculum(Generic[S]):
    """Walks through the stages.

    The run calls `step_done` after every step. If `evaluation_due`, it evaluates and passes the score to `observe`,
    which returns a reason if the stage has ended; then the next stage is current.
    """

    def __init__(self, stages: Sequence[S]) -> None:
        self.stages = list(stages)
        self.records = [StageRecord(stage.name, stage.kind) for stage in stages]
        self.position = 0
        self._rehearsed: dict[str, dict[str, Any]] = {}  # of stages whose rehearsal was changed: the fields that say so

    @property
    def finished(self) -> bool:
        return self.position == len(self.stages)

    @property
    def stage(self) -> S:
        """The present stage, with its present share of rehearsal."""
        stage = self.stages[self.position]
        changed = self._rehearsed.get(stage.name)
        return stage.model_copy(update=changed) if changed else stage

    def rehearse(self, stage: str, share: float, families: Mapping[str, float]) -> None:
        """Sets the share of a stage's tasks that rehearses, and the weights of their families."""
        self._rehearsed[stage] = {"rehearsal": share, "rehearse": dict(families)}

    @property
    def record(self) -> StageRecord:
        return self.records[self.position]

    def step_done(self) -> None:
        self.record.steps += 1

    @property
    def evaluation_due(self) -> bool:
        """Whether the gate needs a score now."""
        gate = self.stage.gate
        step = self.record.steps
        return (step >= gate.min_steps and step % gate.every == 0) or step >= gate.max_steps

    def observe(self, score: float, held_back: Sequence[str] = ()) -> Reason | None:
        """Records a score of the gate's measure. Returns why the stage ends, if it does, and moves on to the next.

        Args:
            held_back: what keeps the score from ending the stage by the threshold.
        """
        record = self.record
        record.scores.append((record.steps, score))
        record.held_back = list(held_back)
        record.reason = self.stage.gate.reason(record.steps, [s for _, s in record.scores], bool(held_back))
        if record.reason:
            self.position += 1
        return record.reason

    def state_dict(self) -> dict[str, Any]:
        records = [asdict(record) for record in self.records]
        return {"position": self.position, "records": records, "rehearsed": self._rehearsed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned. Raises ValueError if the state is of other stages."""
        records = []
        for record in state["records"]:
            scores = [(step, score) for step, score in record["scores"]]
            records.append(StageRecord(**{**record, "scores": scores}))
        ours = [(record.name, record.kind) for record in self.records]
        theirs = [(record.name, record.kind) for record in records]
        if ours != theirs:
            raise ValueError(f"the curriculum state is of stages {theirs}, the recipe has {ours}")
        self.position = state["position"]
        self.records = records
        self._rehearsed = dict(state.get("rehearsed", {}))  # a commit of an earlier release has none
