"""Through Ray's object store: works everywhere, and for workers that start late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from actors.runtime.remote import RemoteFailure
from actors.weights.buckets import Bucket, bring_to_store, files_of
from actors.weights.transports.base import (
    Delivery,
    Engine,
    Receiver,
    ReceiverContext,
    Sender,
    SenderContext,
    Sent,
    Transport,
)
from actors.weights.version import Probe, Version

if TYPE_CHECKING:
    import torch


class StoreSender(Sender):
    def __init__(self, context: SenderContext) -> None:
        self.context = context

    def send(
        self,
        version: Version,
        parts: Iterator[Mapping[str, torch.Tensor]],
        probe: Probe,
        receivers: Mapping[str, str],
    ) -> Sent:
        context = self.context
        bring_to_store(context.store, version, parts, probe, context.name, context.timeout_s)
        return Sent(0, [])


class StoreDelivery(Delivery):
    """Buckets that are mapped on the worker's node."""

    def __init__(self, buckets: list[Bucket], probe: Probe) -> None:
        self.buckets, self.probe = buckets, probe

    async def load(self, engine: Engine) -> Probe:
        await engine.read(files_of(self.buckets))
        return self.probe


class StoreReceiver(Receiver):
    def __init__(self, context: ReceiverContext) -> None:
        self.context = context

    async def fetch(self, version: Version) -> Delivery:
        """Copies the buckets to this node if they are not there."""
        store, limit_s = self.context.store, self.context.timeout_s
        try:
            references, probe = await asyncio.wait_for(store.fetch.remote(version), limit_s)
            return StoreDelivery(await asyncio.wait_for(asyncio.gather(*references), limit_s), probe)
        except TimeoutError as error:
            raise RemoteFailure(
                f"{self.context.name} did not get weights version {version} from the weight store within {limit_s:g} s"
            ) from error


class StoreTransport(Transport):
    name: ClassVar[str] = "store"

    def sender(self, context: SenderContext) -> Sender:
        return StoreSender(context)

    def receiver(self, context: ReceiverContext) -> Receiver:
        return StoreReceiver(context)
