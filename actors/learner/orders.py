"""The orders that a learner's ranks carry out: one class each, which holds the arguments and what a rank does with
them.

The run sends an order with `Learner.call`, `Learner.update` or `Learner.begin`, and every rank calls its `run`. A
stage kind of your own brings its own subclass of `UpdateOrder`; the ranks must be able to import it.

Nothing here imports torch: the run's own process makes orders, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from actors.learner.profiler import RankProfile
from actors.learner.work import RankWork
from actors.runtime.storage import Storage
from actors.weights.transports.base import Sent
from actors.weights.version import Version
from curriculum.task import Task

if TYPE_CHECKING:
    from actors.learner.rank import DeepSpeedRank

T = TypeVar("T")


class Order(ABC, Generic[T]):
    """One thing that every rank does, in the same sequence as all others; `T` is a rank's answer.

    Attributes:
        name: what errors call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, rank: DeepSpeedRank) -> T:
        """Carries the order out on one rank."""


@dataclass(frozen=True)
class UpdateResult:
    """What one step of training gave.

    Attributes:
        numbers: metrics by name; the same on all ranks. `skipped` updates had a gradient that was not finite.
        non_finite_samples: if updates were skipped, the samples at fault, a row each.
        work: what it took this rank; the rank itself fills it in.
    """

    numbers: dict[str, float]
    non_finite_samples: list[dict[str, Any]]
    work: RankWork | None = None


class UpdateOrder(Order[UpdateResult]):
    """A step of training. Subclass this for a stage kind of your own."""


@dataclass(frozen=True)
class UpdateAndReadAhead(Order[UpdateResult]):
    """An update, beside which films of the next step are read.

    Attributes:
        films: of the tasks that come next, as far as they are known; each rank reads a part of them.
    """

    update: UpdateOrder
    films: Sequence[str]
    name: ClassVar[str] = "update"

    def run(self, rank: DeepSpeedRank) -> UpdateResult:
        rank.next_films = self.films[rank.rank :: rank.world]
        waited_s = rank.encoder.films.waited_s
        result = self.update.run(rank)
        rank.next_films = ()
        result.numbers["film_wait_s"] = rank.max(rank.encoder.films.waited_s - waited_s)
        return result


@dataclass(frozen=True)
class Hello(Order[None]):
    """Nothing; the answer shows that the rank could be built."""

    name: ClassVar[str] = "hello"

    def run(self, rank: DeepSpeedRank) -> None:
        pass


@dataclass(frozen=True)
class FolderModels:
    """Models of other folders than the policy's, which a stage reads and does not train.

    Attributes:
        reference: that KL is measured from; None if that is the policy at an earlier time.
        teachers: of on-policy distillation.
    """

    reference: str | None = None
    teachers: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys([*self.teachers, *([self.reference] if self.reference else [])]))


@dataclass(frozen=True)
class StartStage(Order[None]):
    """Prepares the optimiser, the reference and teachers for a stage.

    Attributes:
        fresh_optimiser: forget the optimiser's moments.
        reference: whether the stage measures KL from a reference; if not, there is none.
        keep_reference: go on with the reference of the stage before, if there is one, rather than take the present
            policy.
        models: of other folders.
    """

    fresh_optimiser: bool
    reference: bool
    keep_reference: bool
    models: FolderModels = FolderModels()
    name: ClassVar[str] = "start_stage"

    def run(self, rank: DeepSpeedRank) -> None:
        if self.fresh_optimiser:
            rank.engine.fresh_optimiser()
        if not self.reference:
            rank.reference = None
        elif self.models.reference is None and (rank.reference is None or not self.keep_reference):
            rank.renew_reference()
        rank.hold(self.models)


@dataclass(frozen=True)
class Publish(Order[Sent]):
    """Sends a version by the run's transport. With a direct one, `Keep` comes next.

    Attributes:
        probe: the tasks by which a worker proves that it holds the version.
        receivers: names, by actor id, of workers that wait for the version; only with a direct transport.
    """

    version: Version
    probe: Sequence[Task]
    receivers: Mapping[str, str] = field(default_factory=dict)
    name: ClassVar[str] = "publish"

    def run(self, rank: DeepSpeedRank) -> Sent:
        return rank.publish(self.version, self.probe, self.receivers)


@dataclass(frozen=True)
class Keep(Order[None]):
    """Brings the present weights to the weight store, with the probe that was published last."""

    version: Version
    name: ClassVar[str] = "keep"

    def run(self, rank: DeepSpeedRank) -> None:
        rank.keep(self.version)


@dataclass(frozen=True)
class Save(Order[dict[str, str]]):
    """DeepSpeed's checkpoint. The answer is the SHA-256 of every file that the rank wrote, by its path in `storage`."""

    storage: Storage
    name: ClassVar[str] = "save"

    def run(self, rank: DeepSpeedRank) -> dict[str, str]:
        return rank.save(self.storage)


@dataclass(frozen=True)
class Load(Order[None]):
    """Reads what `Save` wrote, on this or another number of ranks.

    Attributes:
        models: of other folders, for a stage that goes on; a commit does not hold them.
    """

    storage: Storage
    models: FolderModels = FolderModels()
    name: ClassVar[str] = "load"

    def run(self, rank: DeepSpeedRank) -> None:
        rank.load(self.storage)
        rank.hold(self.models)


@dataclass(frozen=True)
class Export(Order[None]):
    """Writes a Hugging Face folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM load."""

    folder: Path
    name: ClassVar[str] = "export"

    def run(self, rank: DeepSpeedRank) -> None:
        rank.export(self.folder)


@dataclass(frozen=True)
class BeginProfile(Order[None]):
    """Records what the rank computes from here on, until `EndProfile`."""

    name: ClassVar[str] = "begin_profile"

    def run(self, rank: DeepSpeedRank) -> None:
        rank.recorder.begin()


@dataclass(frozen=True)
class EndProfile(Order[RankProfile | None]):
    """Ends the recording. The answer is None if there is none, because the rank is a new one."""

    name: ClassVar[str] = "end_profile"

    def run(self, rank: DeepSpeedRank) -> RankProfile | None:
        return rank.recorder.end()


@dataclass(frozen=True)
class Resize(Order[None]):
    """Ends the rank as a failure, so that Ray Train starts as many as there is room for."""

    name: ClassVar[str] = "resize"

    def run(self, rank: DeepSpeedRank) -> None:
        pass


@dataclass(frozen=True)
class Stop(Order[None]):
    """Ends the rank."""

    name: ClassVar[str] = "stop"

    def run(self, rank: DeepSpeedRank) -> None:
        rank.encoder.close()
