"""The weight store: an actor that outlives the learner and keeps the last versions, so that a late worker can still
fetch one.

A version is available once all its buckets are on the store's node. With direct transports, the store is also where
the learner and the workers meet before a transfer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from actors.weights.buckets import Bucket, hand_over
from actors.weights.version import Probe, Version


class Offer(NamedTuple):
    """Where and how a worker takes part in a direct transfer.

    Attributes:
        group: names the group of processes; a worker that joined it for an earlier version is still in it.
        first: the rank of the worker's first process in the group; the others follow.
        address, port, names, limit_s: as of `WeightGroup`.
    """

    group: str
    address: str
    port: int
    first: int
    names: list[str]
    limit_s: float
    probe: Probe


class Waiting(NamedTuple):
    """A worker that waits for a version: how many processes its engine has, and which group they are in, or ""."""

    version: Version
    ranks: int
    group: str


class _Held(NamedTuple):
    """A bucket of the store. The mapped `bucket` keeps a copy on the store's node, at no further cost there."""

    reference: Any
    bucket: Bucket


class WeightStore:
    """Keeps the last two versions, and only the last one while the next is on its way; an asynchronous Ray actor."""

    def __init__(self) -> None:
        self.versions: OrderedDict[Version, tuple[list[_Held], Probe]] = OrderedDict()
        self.coming: tuple[Version | None, list[_Held]] = (None, [])
        self.waiting: dict[str, Waiting] = {}  # by the worker's actor
        self.offers: dict[tuple[str, Version], Offer] = {}
        self.newest: Version | None = None  # that was mentioned: older ones do not come any more
        self.cancelled: Version | None = None  # neither does this one, nor an older one
        self.changed = asyncio.Condition()

    def __repr__(self) -> str:
        return "weight-store"

    async def take(self, sender: Any, who: str, version: Version, number: int, timeout_s: float) -> None:
        """Pulls bucket `number` of a version from its sender; number 0 begins it, and drops a version that was never
        published.

        Raises:
            ValueError: the bucket is not the next one.
            TimeoutError: the sender did not hand it over in time.
        """
        if number == 0:
            self.coming = (version, [])
            self._keep_newest(1)
            await self._mention(version)
        self._check(version, number)
        reference = sender.__ray_call__.remote(hand_over, version, number)
        try:
            bucket = await asyncio.wait_for(reference, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(
                f"{who} did not hand over bucket {number} of weights version {version} within {timeout_s:g} s"
            ) from error
        self._check(version, number)
        self.coming[1].append(_Held(reference, bucket))

    async def publish(self, version: Version, buckets: int, probe: Probe) -> None:
        """Makes a version available whose `buckets` have all come. Raises ValueError: they have not."""
        self._check(version, buckets)
        self.versions[version] = (self.coming[1], probe)
        self.coming = (None, [])
        self._keep_newest(2)
        await self._mention(version)

    async def await_transfer(self, who: str, version: Version, ranks: int, group: str) -> Offer | None:
        """Waits until a version is offered for a direct transfer, or is here, or cannot come any more.

        Args:
            who: the worker's actor id.
            ranks, group: as of `Waiting`.

        Returns:
            How to take part in the transfer, or None if the version is here.

        Raises:
            KeyError: it does not come, or is not kept any more.
        """
        async with self.changed:
            self.waiting[who] = Waiting(version, ranks, group)
            self.changed.notify_all()
            try:
                await self.changed.wait_for(
                    lambda: (who, version) in self.offers or version in self.versions or self._gone(version)
                )
            finally:
                self.waiting.pop(who, None)
            if offer := self.offers.pop((who, version), None):
                return offer
        if version not in self.versions:
            raise KeyError(f"weights version {version} does not come any more; kept are {self._kept()}")
        return None

    async def await_receivers(self, version: Version, receivers: Sequence[str], limit_s: float) -> dict[str, Waiting]:
        """Waits until these workers wait for a version, or until the limit. Returns those that do, in the order of
        `receivers`.
        """
        await self._mention(version)

        def present() -> dict[str, Waiting]:
            waiting = {who: self.waiting[who] for who in receivers if who in self.waiting}
            return {who: worker for who, worker in waiting.items() if worker.version == version}

        async with self.changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: len(present()) == len(receivers)), limit_s)
            return present()

    async def post_offers(self, version: Version, offers: Mapping[str, Offer]) -> None:
        """Hands offers to workers that wait for a version, by actor id."""
        async with self.changed:
            self.offers = {(who, version): offer for who, offer in offers.items()}
            self.changed.notify_all()

    async def cancel(self, version: Version) -> None:
        """Ends the wait of every worker for a version that is not here, or for an older one: it does not come."""
        async with self.changed:
            self.cancelled = max(version, self.cancelled or version)
            self.changed.notify_all()

    async def fetch(self, version: Version) -> tuple[list[Any], Probe]:
        """The references to a version's buckets, and its probe.

        Raises:
            KeyError: it is not kept (any more).
        """
        if version not in self.versions:
            raise KeyError(f"weights version {version} is not kept; kept are {self._kept()}")
        held, probe = self.versions[version]
        return [bucket.reference for bucket in held], probe

    async def _mention(self, version: Version) -> None:
        async with self.changed:
            self.newest = max(version, self.newest or version)
            self.changed.notify_all()

    def _gone(self, version: Version) -> bool:
        if self.newest and version < self.newest:
            return True
        return bool(self.cancelled and version <= self.cancelled)

    def _kept(self) -> str:
        return ", ".join(map(str, self.versions)) or "none"

    def _check(self, version: Version, number: int) -> None:
        coming, held = self.coming
        if coming != version or len(held) != number:
            come = f"{len(held)} of version {coming} have come"
            raise ValueError(f"bucket {number} of weights version {version} is not the next: {come}")

    def _keep_newest(self, count: int) -> None:
        while len(self.versions) > count:
            self.versions.popitem(last=False)
