"""A recipe: the whole configuration of a run as one typed tree. `recipe_file` reads it from YAML."""

from __future__ import annotations

from collections import ChainMap
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from actors.learner.config import LearnerConfig
from actors.model.encode import PromptConfig, SystemMessage
from actors.model.families.pixel_budget import PixelBudget
from actors.model.tiny_model import TinyModelConfig
from actors.reward import RewardWorkersConfig
from actors.rollout.config import RolloutConfig
from actors.weights.transports import TRANSPORTS, automatic_transport
from actors.weights.transports.base import Gpus, Transport
from cluster.config.guards import DEFAULT, Guard
from cluster.stages.kind import Stage, StageKind
from cluster.trackers import TRACKERS
from curriculum.choice import KeyOf
from curriculum.phantoms.phantom_set import PhantomConfig
from curriculum.sampler import Mixing
from curriculum.sets.source import Source
from curriculum.stages import Gate, Measure
from curriculum.strict import Strict


class DataConfig(Strict):
    """Where the tasks come from: phantoms drawn for the run, or one or several task sets on disk."""

    phantoms: PhantomConfig | None = None
    tasks: Path | None = Field(None, description="a task set, as `curlvpr data import` writes: its file or folder")
    sources: tuple[Source, ...] | None = Field(None, min_length=1, description="several task sets")
    size_power: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how much more is drawn from a larger source: its share is in proportion to weight × "
        "tasks ^ size_power; 1 draws as from one set, 0 by the weights alone",
    )
    drop_bad_rows: bool = Field(False, description="train without the rows that `curlvpr data check` finds bad")

    @model_validator(mode="after")
    def _one(self) -> DataConfig:
        return _exactly_one(self, "phantoms", "tasks", "sources")

    @model_validator(mode="after")
    def _names_differ(self) -> DataConfig:
        names = [source.name for source in self.sources or ()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"sources: two are called {twice!r}; names must differ")
        return self

    @property
    def mixing(self) -> Mixing | None:
        """How the sources are mixed; None where there is one set."""
        if self.sources is None:
            return None
        return Mixing({source.name: source.weight for source in self.sources}, self.size_power)

    @property
    def sets(self) -> dict[str, Path]:
        """The task sets on disk by their settings' names."""
        if self.sources is None:
            return {} if self.tasks is None else {"data.tasks": self.tasks}
        return {f"data.sources.{source.name}.tasks": source.tasks for source in self.sources}


class ModelConfig(PixelBudget):
    """The model to start from: a tiny one made on the spot, or a Hugging Face folder; and how it reads films."""

    tiny: TinyModelConfig | None = None
    path: Path | None = None
    film_cache_gib: float = Field(
        4,
        ge=0,
        description="of films as the model reads them, which a node keeps on disk for its workers while the run "
        "lasts; 0: none",
    )

    @model_validator(mode="after")
    def _one(self) -> ModelConfig:
        return _exactly_one(self, "tiny", "path")

    @property
    def folder(self) -> Path:
        """The absolute path of a model that is not `tiny`."""
        if self.path is None:
            raise ValueError("a tiny model has no folder yet")
        return self.path.absolute()


class EvaluationConfig(Strict):
    """Held-out tasks of each family: `val` decides the gates, `test` is scored where a stage starts and ends."""

    val_per_family: PositiveInt = 100
    test_per_family: PositiveInt = 200
    bootstrap: PositiveInt = Field(1000, description="resamples of a 95 % interval")


class VetoConfig(Strict):
    """A source where no version may lose too much, such as another hospital's."""

    source: str = Field(description="name of data.sources; its validation tasks decide nothing but the veto")
    max_loss: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="a version is vetoed if the whole paired 95 % interval of its loss there is larger",
    )


class BestConfig(Strict):
    """Which versions are kept beside the newest commits."""

    measure: Measure | None = Field(
        None,
        description="of the validation tasks, by which the versions of a stage are ranked; its gate's where left out",
    )
    keep: int = Field(1, ge=0, description="versions of each stage; 0 keeps the newest commits alone")
    veto: VetoConfig | None = Field(None, description="a second validation set, which may veto what model/ holds")

    def ranked_by(self, gate: Gate) -> tuple[str, tuple[str, ...]]:
        """The measure that ranks the versions of a stage with this gate, and the families that are asked for it."""
        return (self.measure, ()) if self.measure else (gate.measure, gate.families)


class CheckpointConfig(Strict):
    every_minutes: float = Field(
        5,
        ge=0,
        description="at most so much work is lost, unless commits would take a tenth of the "
        "time; a stage's end is kept as well",
    )
    keep: PositiveInt = Field(2, description="newest commits")
    best: BestConfig = BestConfig()
    export: Literal["best", "last"] = Field(
        "best",
        description="what model/ holds: the best version of the last stage that kept what was learnt before, or "
        "the last one",
    )
    storage: str | None = Field(
        None,
        description="an absolute path or a URI (s3://bucket/folder, gs://…) that all learner "
        "workers reach; the run folder where left out",
    )

    @model_validator(mode="after")
    def _best_is_kept(self) -> CheckpointConfig:
        if self.export == "best" and not self.best.keep:
            raise ValueError("export: best needs best.keep of at least 1, found 0; with export: last none is needed")
        if self.export == "last" and self.best.veto:
            raise ValueError("export: last takes the last version whatever best.veto finds; leave out one of the two")
        return self


Role = RolloutConfig | RewardWorkersConfig | LearnerConfig
"""What a recipe says of one kind of workers."""


class ReportConfig(Strict):
    images: bool = Field(True, description="films in report.html; false where patient data must not leave its place")


class Recipe(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    root: Path = Field(Path("runs"), description="the run folder is root/name")
    data: DataConfig
    model: ModelConfig
    prompt: SystemMessage = SystemMessage()
    stages: list[Stage] = Field(min_length=1)
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardWorkersConfig = RewardWorkersConfig()
    learner: LearnerConfig = LearnerConfig()
    transport: Annotated[str, KeyOf(ChainMap(TRANSPORTS, {"auto": None}))] = Field(
        "auto",
        description="how new weights reach the rollout workers: "
        "through Ray's object store, or straight, by NCCL between GPUs and "
        "gloo between CPUs; auto: by NCCL if all have whole GPUs",
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    report: ReportConfig = ReportConfig()
    guards: tuple[Guard, ...] = DEFAULT
    trackers: tuple[Annotated[str, KeyOf(TRACKERS)], ...] = Field(
        (), description="where every number goes beside TensorBoard"
    )
    log_trajectories: int = Field(2, ge=0, description="responses of every RL step that are kept in the run folder")

    @property
    def tested_families(self) -> list[str]:
        """The families of stages that generate. Those of supervised stages alone (reports) are no questions."""
        families: dict[str, None] = {}
        for stage in self.stages:
            if stage.generates:
                families |= dict.fromkeys(stage.mixture)
        return list(families or self.stages[0].mixture)

    def rehearsable(self, stage: Stage) -> dict[str, float]:
        """What a stage rehearses if it has to: the families that it names, else the questions of the stages before it,
        with their weights.
        """
        families: dict[str, float] = {}
        for earlier in self.stages[: [config.name for config in self.stages].index(stage.name)]:
            families |= {family: weight for family, weight in earlier.tasks.items() if family in self.tested_families}
        return stage.rehearse or families

    @property
    def prompt_config(self) -> PromptConfig:
        """All that whoever makes prompts of tasks needs beside the model's folder."""
        return PromptConfig(
            system=self.prompt.system,
            min_pixels=self.model.min_pixels,
            max_pixels=self.model.max_pixels,
            film_cache_gib=self.model.film_cache_gib,
        )

    @property
    def roles(self) -> dict[str, Role]:
        """The workers of a run."""
        return {"rollout": self.rollout, "reward": self.reward, "learner": self.learner}

    @property
    def weight_transport(self) -> Transport:
        """The way by which new weights reach the rollout workers."""
        return automatic_transport(self._gpus) if self.transport == "auto" else TRANSPORTS[self.transport]

    @property
    def shares_gpus(self) -> bool:
        """Whether Ray may give an engine and a rank parts of the same GPU."""
        return 0 < self.rollout.gpus < 1 and 0 < self.learner.gpus < 1

    @property
    def takes_turns(self) -> bool:
        """Whether engines sleep so that ranks have the GPUs that they share."""
        return self.rollout.sleep and self.shares_gpus

    @property
    def _gpus(self) -> Gpus:
        return Gpus(self.rollout.gpus, self.learner.gpus, self.rollout.sleep)

    @model_validator(mode="after")
    def _validate_transport(self) -> Recipe:
        if refusal := self.weight_transport.refusal(self._gpus):
            raise ValueError(refusal)
        return self

    @model_validator(mode="after")
    def _validate_stage_names(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {names}")
        return self

    @model_validator(mode="after")
    def _validate_forget(self) -> Recipe:
        for number, stage in enumerate(self.stages):
            path = f"stages.{stage.name}.forget"
            if stage.forget is None:
                continue
            if number == 0:
                raise ValueError(f"{path}: no stage comes before this one, whose measure could fall; leave it out")
            if stage.forget.do == "roll_back" and not self.checkpoint.best.keep:
                raise ValueError(f"{path}.do: roll_back needs checkpoint.best.keep of at least 1, found 0")
            if stage.forget.do == "rehearse" and not self.rehearsable(stage):
                raise ValueError(
                    f"{path}.do: the stages before have no question to rehearse; name families in rehearse"
                )
            if stage.forget.do == "rehearse" and stage.rehearsal > stage.forget.up_to:
                raise ValueError(
                    f"{path}.up_to: {stage.forget.up_to:g} is below the stage's rehearsal, {stage.rehearsal:g}"
                )
        return self

    @model_validator(mode="after")
    def _validate_sources(self) -> Recipe:
        known = [source.name for source in self.data.sources or ()]
        veto = self.checkpoint.best.veto
        named = [(f"stages.{stage.name}.sources", name) for stage in self.stages for name in stage.sources]
        named += [("checkpoint.best.veto.source", veto.source)] if veto else []
        for path, name in named:
            if name not in known:
                there_are = f"there are {', '.join(known)}" if known else "the recipe has no data.sources"
                raise ValueError(f"{path}: no source is called {name!r}; {there_are}")
        if veto and len(known) == 1:
            raise ValueError(
                f"checkpoint.best.veto.source: {veto.source} is the only source; gates need the validation tasks of "
                "another one"
            )
        return self

    @model_validator(mode="after")
    def _validate_references(self) -> Recipe:
        """Only the policy's own weights are committed, so a stage names the folder that it measures KL from itself."""
        before: StageKind | None = None
        for stage in self.stages:
            if before and stage.needs_reference and stage.keeps_reference and before.folder_models.reference:
                raise ValueError(
                    f"stages.{stage.name}.training.reference: keep would go on with another folder's model: give "
                    f"reference_path, as {before.name} does"
                )
            before = stage
        return self

    @model_validator(mode="after")
    def _validate_tasks_per_step(self) -> Recipe:
        for stage in self.stages:
            minimum = self.learner.workers * stage.updates_per_step
            if stage.tasks_per_step < minimum:
                raise ValueError(
                    f"stages.{stage.name}.training.tasks_per_step: {stage.tasks_per_step} is too few; "
                    f"at least {minimum}, one for each learner worker and update, are needed"
                )
        return self

    @model_validator(mode="after")
    def _validate_sampling(self) -> Recipe:
        for stage in self.stages:
            correction = getattr(stage.training, "correction", "token")
            if self.rollout.leaves_words_out and stage.generates and correction not in ("token", "sequence"):
                raise ValueError(
                    f"stages.{stage.name}.training.correction: {correction}: rollout.top_p, top_k and min_p leave out "
                    "words that the learner counts; token or sequence corrects for that"
                )
        return self

    @model_validator(mode="after")
    def _validate_gpu_parts(self) -> Recipe:
        """Ray gives a part of a GPU where it fits best, so only sizes keep workers apart."""
        learner, rollout = self.learner, self.rollout
        if learner.workers > 1 and 0 < learner.gpus <= 0.5:
            raise ValueError(
                f"learner.gpus: {learner.gpus:g} would put two of {learner.workers} ranks on one GPU, and NCCL takes "
                "one process on each; above 0.5 is needed, such as 0.6"
            )
        engines = max(rollout.workers, rollout.max or 0)
        if not self.takes_turns or (engines == 1 and learner.workers == 1):
            return self
        one_each = learner.gpus > 0.5 and rollout.gpus + learner.gpus <= 1 and engines <= learner.fewest
        if not one_each:
            raise ValueError(
                "rollout.sleep: each engine needs a GPU that no other engine has, so a rank takes more than half of "
                "it and the engine the rest (learner.gpus 0.6, rollout.gpus 0.4), and there are no more rollout "
                f"workers than learner workers; found {rollout.gpus:g} for {engines} and {learner.gpus:g} for "
                f"{learner.fewest}"
            )
        return self

    @model_validator(mode="after")
    def _validate_sleep(self) -> Recipe:
        for stage in self.stages:
            if self.rollout.sleep and stage.max_staleness:
                raise ValueError(
                    f"stages.{stage.name}.training.max_staleness: engines that sleep while the learner works "
                    "(rollout.sleep) cannot write ahead of it; 0 is needed"
                )
        return self


def _exactly_one(part: Any, *names: str) -> Any:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        known = f"{', '.join(names[:-1])} and {names[-1]}"
        raise ValueError(f"exactly one of {known} must be given, found {' and '.join(given) or 'none'}")
    return part
