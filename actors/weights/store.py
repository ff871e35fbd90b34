"""Weight transport: publish, fetch, verify.

A version travels in buckets, each one object of Ray's store. The weight store is an actor that outlives the learner and owns
the last versions, so that a late or restarted worker can still fetch one. An object belongs to who called for it: so the store
calls for a bucket, and the learner's rank answers with its own tensors, which Ray writes into shared memory without a copy
before. A version is seen when all its buckets lie on the store's node. With it goes a probe: tasks, what the learner made of
them and of responses to them, and the log-probabilities that it computed. A worker holds a version when its own engine gives
the same numbers.

Where weights go straight to the workers (`broadcast`), these meet the learner at the store, which keeps the version as well for
those who come late.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import ray

from actors.runtime.remote import wait_for
from actors.trajectory import Sample
from curriculum.task import Task

if TYPE_CHECKING:
    import torch


class Version(NamedTuple):
    """Weights by name: `number` counts the updates of the run; a learner that goes back to a commit begins a new `lineage`."""

    lineage: int
    number: int

    def __str__(self) -> str:
        return f"{self.lineage}.{self.number}"


ASLEEP = Version(-1, -1)  # what a rollout worker holds whose engine has given its memory to the learner
Probe = list[tuple[Task, Sample, np.ndarray]]  # with float32 [response tokens]
Bucket = list[np.ndarray]
"""Whole tensors: uint8 arrays that, one after the other, are a safetensors file."""


def bucket_of(tensors: Mapping[str, torch.Tensor]) -> Bucket:
    """Those that are contiguous on the CPU are not copied. Format: github.com/huggingface/safetensors, README, "Format"."""
    import torch

    header, parts, end = {}, [], 0
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].element_size()):  # so that all stay aligned
        parts.append(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        kind = str(value.dtype).removeprefix("torch.")  # F32, BF16, I64, U8, BOOL
        for long, short in (("bfloat", "BF"), ("float", "F"), ("uint", "U"), ("int", "I"), ("bool", "BOOL")):
            kind = kind.replace(long, short)
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [end, end + parts[-1].size]}
        end += parts[-1].size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [np.frombuffer(len(text).to_bytes(8, "little") + text, np.uint8), *parts]


def files_of(buckets: Iterable[Bucket]) -> Iterator[str]:
    """A file in memory for each bucket, by a path for other processes of the same user on this machine. It has no name in any
    file system, and lasts until the next is asked for, and for those that have mapped it."""
    for bucket in buckets:
        with os.fdopen(os.memfd_create("weights"), "wb") as file:
            file.writelines(bucket)
            file.flush()
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


_outbox: dict[tuple[Version, int], Bucket] = {}  # of this process; what the store has not called for yet


def _hand_over(_: Any, version: Version, number: int) -> Bucket:
    """Runs in the sender's process, by the store's call."""
    return _outbox.pop((version, number))


def send(store: Any, version: Version, number: int, bucket: Bucket, who: str, timeout_s: float) -> None:
    """Brings bucket `number` of a version to the store. Afterwards the tensors may change.

    Must be called inside an actor that has a thread free to hand the bucket over.

    Raises:
        RemoteFailure: the store did not answer, or did not get it.
    """
    _outbox[version, number] = bucket
    try:
        wait_for(
            store.take.remote(ray.get_runtime_context().current_actor, who, version, number, timeout_s),
            timeout_s + 10,
            "the weight store",
        )
    finally:
        _outbox.pop((version, number), None)


def publish(
    store: Any, version: Version, parts: Iterable[Mapping[str, torch.Tensor]], probe: Probe, who: str, timeout_s: float
) -> None:
    """Brings a version to the store, a bucket for each part, and shows it. A part is let go before the next is asked for.

    Where `send` may be called. Raises RemoteFailure as it does.
    """
    count = 0
    for part in parts:
        send(store, version, count, bucket_of(part), who, timeout_s)
        count += 1
        del part
    wait_for(store.publish.remote(version, count, probe), timeout_s, "the weight store")


class Offer(NamedTuple):
    """Where and how a worker takes part in a transfer: `group` names the group, for which it may have been made before; its
    processes have the ranks from `first` on. The rest is `collective.Group`'s."""

    group: str
    address: str
    port: int
    first: int
    names: list[str]
    limit_s: float
    probe: Probe


class Waiting(NamedTuple):
    """A worker that waits for a version: how many processes its engine has, and which group they stand in, if any."""

    version: Version
    ranks: int
    group: str


class _Held(NamedTuple):
    """A bucket of the store. That `bucket` is mapped keeps a copy on the store's node, without one more where it is there."""

    reference: Any
    bucket: Bucket


class WeightStore:
    """Keeps the last two versions, and only the last while the next is on its way; an asynchronous Ray actor."""

    def __init__(self) -> None:
        self.versions: OrderedDict[Version, tuple[list[_Held], Probe]] = OrderedDict()
        self.coming: tuple[Version | None, list[_Held]] = (None, [])
        self.waiting: dict[str, Waiting] = {}  # by the worker's actor
        self.offers: dict[tuple[str, Version], Offer] = {}
        self.newest: Version | None = None  # that anyone heard of: older ones do not come any more
        self.withdrawn: Version | None = None  # neither does this one
        self.news = asyncio.Condition()

    def __repr__(self) -> str:
        return "weight-store"

    async def take(self, sender: Any, who: str, version: Version, number: int, timeout_s: float) -> None:
        """Calls for bucket `number` of a version; number 0 begins it, and drops one that was never published.

        Raises:
            ValueError: the bucket is not the next one.
            TimeoutError: the sender did not hand it over in time.
        """
        if number == 0:
            self.coming = (version, [])
            self._leave(1)
            await self._hear_of(version)
        self._check(version, number)
        reference = sender.__ray_call__.remote(_hand_over, version, number)
        try:
            bucket = await asyncio.wait_for(reference, timeout_s)
        except asyncio.TimeoutError as error:
            raise TimeoutError(
                f"{who} did not hand over bucket {number} of weights version {version} within {timeout_s:g} s"
            ) from error
        self._check(version, number)
        self.coming[1].append(_Held(reference, bucket))

    async def publish(self, version: Version, buckets: int, probe: Probe) -> None:
        """Shows a version whose `buckets` have all come. Raises ValueError: they have not."""
        self._check(version, buckets)
        self.versions[version] = (self.coming[1], probe)
        self.coming = (None, [])
        self._leave(2)
        await self._hear_of(version)

    async def attend(self, who: str, version: Version, ranks: int, group: str) -> Offer | None:
        """Waits for a version, for as long as it may come. Returns how to take part in its transfer, or None: it is here.

        Raises:
            KeyError: it does not come, or is not kept any more.
        """
        async with self.news:
            self.waiting[who] = Waiting(version, ranks, group)
            self.news.notify_all()
            try:
                await self.news.wait_for(
                    lambda: (who, version) in self.offers or version in self.versions or self._gone(version)
                )
            finally:
                self.waiting.pop(who, None)
            if offer := self.offers.pop((who, version), None):
                return offer
        if version not in self.versions:
            raise KeyError(f"weights version {version} does not come any more; kept are {self._kept()}")
        return None

    async def invite(self, version: Version, receivers: Sequence[str], limit_s: float) -> dict[str, Waiting]:
        """Waits until these workers wait for a version, or the limit is over. Returns those who do, in the order given."""
        await self._hear_of(version)

        def here() -> dict[str, Waiting]:
            return {
                who: self.waiting[who]
                for who in receivers
                if who in self.waiting and self.waiting[who].version == version
            }

        async with self.news:
            try:
                await asyncio.wait_for(self.news.wait_for(lambda: len(here()) == len(receivers)), limit_s)
            except asyncio.TimeoutError:
                pass
            return here()

    async def offer(self, version: Version, offers: Mapping[str, Offer]) -> None:
        """Hands them to workers that wait for a version."""
        async with self.news:
            self.offers = {(who, version): offer for who, offer in offers.items()}
            self.news.notify_all()

    async def withdraw(self, version: Version) -> None:
        """Whoever waits for a version, or an older one, that is not here is told that it does not come."""
        async with self.news:
            self.withdrawn = max(version, self.withdrawn or version)
            self.news.notify_all()

    async def fetch(self, version: Version) -> tuple[list[Any], Probe]:
        """(references to the buckets, probe) of a version.

        Raises:
            KeyError: it is not kept (any more).
        """
        if version not in self.versions:
            raise KeyError(f"weights version {version} is not kept; kept are {self._kept()}")
        held, probe = self.versions[version]
        return [bucket.reference for bucket in held], probe

    async def _hear_of(self, version: Version) -> None:
        async with self.news:
            self.newest = max(version, self.newest or version)
            self.news.notify_all()

    def _gone(self, version: Version) -> bool:
        return bool(self.newest and version < self.newest or self.withdrawn and version <= self.withdrawn)

    def _kept(self) -> str:
        return ", ".join(map(str, self.versions)) or "none"

    def _check(self, version: Version, number: int) -> None:
        coming, held = self.coming
        if coming != version or len(held) != number:
            raise ValueError(
                f"bucket {number} of weights version {version} is not the next: {len(held)} of version {coming} have come"
            )

    def _leave(self, count: int) -> None:
        while len(self.versions) > count:
            self.versions.popitem(last=False)
