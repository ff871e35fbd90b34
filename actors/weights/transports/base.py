"""The interface between the run and a way for weights to travel from the learner to the rollout workers.

A transport has three parts, in three processes: `Sender.send` in the learner's rank 0, `Receiver.fetch` in each
rollout worker, and `Transport` itself, by which the run and the recipe know what the way needs. That a worker holds
the weights is not the transport's concern: the worker proves it afterwards by the probe.

Nothing here imports torch: the recipe reads the table of transports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from actors.weights.version import Probe, Version

if TYPE_CHECKING:
    import torch

    from actors.weights.store import Offer


class Sent(NamedTuple):
    """What became of a version that was sent.

    Attributes:
        reached: how many waiting workers it went to.
        events: why it did not reach all of them, a line each.
        bytes: size of the version; the learner's rank counts it, not the sender.
    """

    reached: int
    events: list[str]
    bytes: int = 0


@dataclass(frozen=True)
class Gpus:
    """What a transport may depend on.

    Attributes:
        rollout, learner: GPUs of one worker, and of one rank; a part of one is below 1.
        sleep: whether engines give their memory to the learner in turn.
    """

    rollout: float
    learner: float
    sleep: bool


@dataclass(frozen=True)
class SenderContext:
    """What a sender knows of its process.

    Attributes:
        name: the process, for errors.
        store: the `WeightStore` actor.
        device: where the weights are.
        silent_s: after how long without a sign of life a worker counts as lost.
        timeout_s: for any other wait.
    """

    name: str
    store: Any
    device: torch.device
    silent_s: float
    timeout_s: float


class Sender(ABC):
    """Rank 0's side, for as long as the rank lives."""

    @abstractmethod
    def send(
        self,
        version: Version,
        parts: Iterator[Mapping[str, torch.Tensor]],
        probe: Probe,
        receivers: Mapping[str, str],
    ) -> Sent:
        """Sends a version.

        Args:
            parts: the version in buckets: the whole model by the names of a Hugging Face checkpoint, or adapters alone.
                Take one after the other: the tensors are only valid until the next is asked for. Those that are left
                are computed and dropped.
            receivers: names, by actor id, of workers that wait for the version; none if the transport is not `direct`.

        Raises:
            RemoteFailure: the version cannot be had by anyone.
        """


@dataclass(frozen=True)
class ReceiverContext:
    """What a receiver knows of its process.

    Attributes:
        name: the worker, for errors.
        store: the `WeightStore` actor.
        processes: how many its engine has.
        timeout_s: for every wait.
    """

    name: str
    store: Any
    processes: int
    timeout_s: float


class Engine(Protocol):
    """What of an engine a transport uses, while the engine is paused."""

    async def read(self, files: Iterable[str | Path]) -> None:
        """Loads the weights of safetensors files, which together are the whole version."""

    async def join(self, offer: Offer) -> None:
        """Brings the engine's processes into a group."""

    async def receive(self) -> None:
        """Loads the weights that come through the group."""


class Delivery(ABC):
    """A version that a worker can load now."""

    @abstractmethod
    async def load(self, engine: Engine) -> Probe:
        """Brings all weights into the engine, which is paused. Returns the version's probe.

        Raises:
            RemoteFailure: they did not come; the engine may have loaded some of them.
        """


class Receiver(ABC):
    """A worker's side, for as long as the worker lives."""

    @abstractmethod
    async def fetch(self, version: Version) -> Delivery:
        """Waits until a version can be loaded. The engine goes on generating meanwhile.

        Raises:
            RemoteFailure: it did not come in time.
        """


class Transport(ABC):
    """A way for weights to travel. Its objects go to other processes, which must be able to import the class.

    Attributes:
        name: in a recipe, `transport: name`.
        direct: the learner sends straight to workers that wait for the version. So the run announces a version to the
            workers before it has the learner send it. Afterwards the learner brings it to the weight store, for
            workers that start late. If not direct, workers hear of a version once it can be fetched.
        extra_buckets: buckets of weights that rank 0 holds while it sends, beside the one that the learner has
            gathered.
    """

    name: ClassVar[str]
    direct: ClassVar[bool] = False
    extra_buckets: ClassVar[int] = 0

    def refusal(self, gpus: Gpus) -> str | None:
        """Why the transport does not work with these GPUs, for the recipe's author; None if it does."""
        return None

    @abstractmethod
    def sender(self, context: SenderContext) -> Sender: ...

    @abstractmethod
    def receiver(self, context: ReceiverContext) -> Receiver: ...
