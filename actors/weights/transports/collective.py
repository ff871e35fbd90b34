"""Straight from the learner's rank 0 into the engines' processes: by NCCL between GPUs, by gloo between CPUs.

The learner and the workers meet at the weight store. If a transfer fails, its version is fetched from there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import ray

from actors.runtime.remote import RemoteFailure
from actors.weights.store import Offer
from actors.weights.transports.base import (
    Delivery,
    Engine,
    Gpus,
    Receiver,
    ReceiverContext,
    Sender,
    SenderContext,
    Transport,
)
from actors.weights.transports.store import StoreReceiver
from actors.weights.version import Probe, Version

log = logging.getLogger(__name__)


class CollectiveDelivery(Delivery):
    """A transfer that the learner has invited the worker to."""

    def __init__(self, receiver: CollectiveReceiver, version: Version, offer: Offer) -> None:
        self.receiver, self.version, self.offer = receiver, version, offer

    async def load(self, engine: Engine) -> Probe:
        """Takes part in the transfer; if that fails, reads the version from the store, once it is there."""
        if await self.receiver.take_part(engine, self.offer):
            return self.offer.probe
        await self.receiver.await_transfer(self.version)
        delivery = await self.receiver.store.fetch(self.version)
        return await delivery.load(engine)


class CollectiveReceiver(Receiver):
    def __init__(self, context: ReceiverContext) -> None:
        self.context = context
        self.store = StoreReceiver(context)
        self.group = ""  # that the engine's processes are in; the next version may come through it, too

    async def fetch(self, version: Version) -> Delivery:
        """Waits for the learner's invitation, or until the version is at the store."""
        offer = await self.await_transfer(version)
        if offer is None:
            return await self.store.fetch(version)
        return CollectiveDelivery(self, version, offer)

    async def await_transfer(self, version: Version) -> Offer | None:
        """How to take part in a version's transfer; None once the version is at the store."""
        context = self.context
        actor, limit_s = ray.get_runtime_context().get_actor_id(), context.timeout_s
        try:
            offer: Offer | None = await asyncio.wait_for(
                context.store.await_transfer.remote(actor, version, context.processes, self.group), limit_s
            )
        except TimeoutError as error:
            raise RemoteFailure(
                f"{context.name} waited in vain for weights version {version}, {limit_s:g} s"
            ) from error
        return offer

    async def take_part(self, engine: Engine, offer: Offer) -> bool:
        """Whether all weights have come. (If not, the learner reports the reason to the run.)"""
        try:
            if self.group != offer.group:
                self.group = ""
                await engine.join(offer)
                self.group = offer.group
            await engine.receive()
            return True
        except Exception as error:  # noqa: BLE001 - vLLM raises errors of its processes as several types
            log.warning("%s takes its weights from the store: %s", self.context.name, error)
            self.group = ""
            return False


class CollectiveTransport(Transport):
    name: ClassVar[str] = "collective"
    direct: ClassVar[bool] = True
    extra_buckets: ClassVar[int] = 1  # packed into one tensor

    def refusal(self, gpus: Gpus) -> str | None:
        if self.possible(gpus):
            return None
        return (
            "transport: collective joins processes with a whole GPU each, or with none at all: set it to store or "
            f"auto, found rollout.gpus {gpus.rollout:g}, learner.gpus {gpus.learner:g}, rollout.sleep "
            f"{str(gpus.sleep).lower()}"
        )

    @staticmethod
    def possible(gpus: Gpus) -> bool:
        """Whether both sides have whole GPUs, or both have none: NCCL takes one rank on a GPU, and knows no CPU."""
        if gpus.sleep:
            return False
        return (gpus.rollout, gpus.learner) == (0, 0) or min(gpus.rollout, gpus.learner) >= 1

    def sender(self, context: SenderContext) -> Sender:
        from actors.weights.transports.broadcaster import Broadcaster  # it imports torch

        return Broadcaster(context)

    def receiver(self, context: ReceiverContext) -> Receiver:
        return CollectiveReceiver(context)
