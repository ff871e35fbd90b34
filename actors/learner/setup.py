"""What a learner and each of its ranks are started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.learner.config import LearnerConfig
from actors.model.encode import PromptConfig
from actors.runtime.storage import Storage
from actors.weights.transports import TRANSPORTS
from actors.weights.transports.base import Transport


@dataclass(frozen=True)
class RankSetup:
    """The same for every rank.

    Attributes:
        model: the folder of the model to start from.
        store: the `WeightStore` actor, or None if nothing is published.
        transport: the way by which versions of the weights go to the rollout workers.
        adapters_alone: whether versions are the adapters alone, which engines add to the base weights. If not, they are
            whole weights, adapters merged.
        takes_turns: whether engines take the rank's GPU in turn; then the rank keeps no memory that it does not need.
    """

    config: LearnerConfig
    prompt: PromptConfig
    model: str
    store: Any
    seed: int
    transport: Transport = TRANSPORTS["store"]
    takes_turns: bool = False
    adapters_alone: bool = False


@dataclass(frozen=True)
class LearnerSetup:
    """What the handle needs besides.

    Attributes:
        run: the run's name, by which the mailbox is called.
        storage: where Ray Train keeps its own files.
        use_learner_resource: whether each rank asks for one unit of the custom resource `learner`.
        scheduling: Ray's scheduling strategy for the mailbox.
    """

    run: str
    ranks: RankSetup
    storage: Storage
    use_learner_resource: bool
    scheduling: Any
