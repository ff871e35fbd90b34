"""The kinds of stages a curriculum is made of. A new kind is one file here and one line below."""

from cluster.stages.grpo import GrpoStage
from cluster.stages.kind import StageKind
from cluster.stages.rft import RftStage
from cluster.stages.sft import SftStage

STAGE_KINDS: dict[str, type[StageKind]] = {"sft": SftStage, "rft": RftStage, "grpo": GrpoStage}
"""By the name that a recipe gives as `kind`."""

__all__ = ["STAGE_KINDS", "GrpoStage", "RftStage", "SftStage", "StageKind"]
