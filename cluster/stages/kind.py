"""What a kind of stage is: its settings, its step, and how it shows.

A kind is a pydantic model, as recipes give it, with a method `step` that the run calls once per step. What a step may
use of the run is `StepRun`. docs/architecture.md, "Add a stage kind", has the smallest example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from actors.algorithm.config import Optimisation
from actors.learner.orders import FolderModels, UpdateOrder, UpdateResult
from actors.trajectory import Group, ScoredGroup
from cluster.stages.dynamic_sampling import Replacing
from cluster.stages.row import StepRow
from curriculum.sampling.choice import Adaptive
from curriculum.stages import StageConfig
from curriculum.task import Task


class StageKind(StageConfig, ABC):
    """A stage of a recipe. Subclasses narrow `kind` to a literal and `training` to their own settings."""

    training: Optimisation

    label: ClassVar[str]  # in reports
    generates: ClassVar[bool] = False  # whether steps sample responses, so that its families are questions to test
    imitates: ClassVar[bool] = False  # whether the loss is that of next tokens, though steps sample responses
    teaches_from_gold: ClassVar[bool] = False  # whether steps read the gold traces of tasks

    @abstractmethod
    def step(self, run: StepRun) -> UpdateResult:
        """One step: draws tasks, and makes `updates_per_step` updates of the weights.

        Raises:
            RemoteFailure: a worker failed or did not answer.
        """

    @staticmethod
    @abstractmethod
    def headline(row: StepRow) -> str:
        """What a line of the terminal says about a step."""

    @property
    @abstractmethod
    def tasks_per_step(self) -> int: ...

    @property
    def updates_per_step(self) -> int:
        return 1

    @property
    def group_size(self) -> int:
        """How many responses to each task a kind that generates samples."""
        return 1

    @property
    def learnt_per_task(self) -> int:
        """How many responses to each task, at most, the learner reads."""
        return self.group_size

    @property
    def max_staleness(self) -> int:
        """How many steps generation may run ahead of the learner."""
        return 0

    @property
    def adaptive(self) -> Adaptive | None:
        """How tasks are drawn by what they teach; None if in random order."""
        return None

    @property
    def needs_reference(self) -> bool:
        """Whether the learner holds a policy to measure KL from as well."""
        return False

    @property
    def keeps_reference(self) -> bool:
        """Whether that is the reference of the stage before, if there is one."""
        return False

    @property
    def folder_models(self) -> FolderModels:
        """Models of other folders that the learner holds as well."""
        return FolderModels()

    @property
    def keeps_optimiser(self) -> bool:
        """Whether the optimiser's state of the stage before goes on."""
        return False


class StepRun(Protocol):
    """What a step may use of the run."""

    @property
    def stage_step(self) -> int:
        """The number of the step in its stage, from 0."""

    @property
    def version(self) -> int:
        """Updates of the weights so far."""

    @property
    def max_response_tokens(self) -> int: ...

    @property
    def temperature(self) -> float: ...

    @property
    def lr(self) -> float:
        """The learning rate of this step."""

    def draw(self, count: int) -> list[Task]:
        """Draws tasks by the stage's mixture."""

    def generate(self, replacing: Replacing | None = None) -> list[Group]:
        """The step's groups of responses, by the newest weights that `max_staleness` allows.

        With `replacing`, groups that are flat or did not come are replaced while others are still written; the flat
        ones are among those returned. All are in the order of draws.

        Raises:
            RemoteFailure: too few groups are left for the learner's ranks.
        """

    @property
    def min_groups(self) -> int:
        """How many groups a step must train at least: one for each rank of the learner and each update."""

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        """Groups with the verdicts of the reward workers."""

    def through_batch_gate(self, groups: Sequence[ScoredGroup]) -> tuple[list[ScoredGroup], dict[str, float]]:
        """The groups as the batch gate leaves them, and its numbers; unchanged if the recipe has no gate."""

    def observe(self, groups: Sequence[ScoredGroup]) -> dict[str, float]:
        """Tells the sampler what became of all groups of the step, in the order of draws, if the stage is adaptive.

        Returns:
            What the sampler had expected, for the step's row.
        """

    def learn(self, order: UpdateOrder) -> UpdateResult:
        """Has the learner carry out an update, with the GPUs to itself."""

    def book(self, trained: Sequence[ScoredGroup], dropped: Sequence[ScoredGroup], why: str = "no variance") -> None:
        """Books groups in the ledger: as trained, or as dropped, with the reason. Keeps samples of the former."""


def parse_stage(value: Any) -> Any:
    """A stage of a recipe by its `kind`. Raises ValidationError."""
    from cluster.stages import STAGE_KINDS

    if not isinstance(value, dict):
        return value
    known = ", ".join(repr(name) for name in STAGE_KINDS)
    if "kind" not in value:
        raise _fault("missing", f"is missing; one of {known}", value)
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in STAGE_KINDS:
        raise _fault("stage_kind", f"unknown kind, one of {known} is needed", kind)
    return STAGE_KINDS[kind].model_validate(value)


def _fault(name: str, message: str, value: Any) -> ValidationError:
    details = InitErrorDetails(type=PydanticCustomError(name, message), loc=("kind",), input=value)
    return ValidationError.from_exception_data("Stage", [details])


Stage = Annotated[SerializeAsAny[StageKind], BeforeValidator(parse_stage)]
"""The type of a recipe's stages."""
