"""Weights in buckets: a bucket is a safetensors file in memory, and one object of Ray's store while it travels.

Ray gives ownership of an object to its caller, so the weight store pulls the buckets: they outlive the learner. `send`
leaves a bucket in this process' outbox, and the store calls `hand_over` here; Ray writes the tensors into shared
memory without a copy before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from actors.runtime.remote import wait_for
from actors.weights.version import Probe, Version

if TYPE_CHECKING:
    import torch

Bucket = list[np.ndarray]
"""Whole tensors: uint8 arrays that, one after the other, are a safetensors file."""

SHORT_NAMES = (("bfloat", "BF"), ("float", "F"), ("uint", "U"), ("int", "I"), ("bool", "BOOL"))
"""How safetensors abbreviates torch's types: F32, BF16, I64, U8, BOOL."""


def bucket_of(tensors: Mapping[str, torch.Tensor]) -> Bucket:
    """Packs tensors; those that are contiguous on the CPU are not copied.

    Format: github.com/huggingface/safetensors, README, "Format".
    """
    import torch

    header: dict[str, dict[str, Any]] = {}
    parts: list[np.ndarray] = []
    end = 0
    by_size = sorted(tensors.items(), key=lambda item: -item[1].element_size())  # so that all stay aligned
    for name, value in by_size:
        part = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        parts.append(part)
        header[name] = {
            "dtype": _dtype_name(value.dtype),
            "shape": list(value.shape),
            "data_offsets": [end, end + part.size],
        }
        end += part.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [np.frombuffer(len(text).to_bytes(8, "little") + text, np.uint8), *parts]


def _dtype_name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    for long, short in SHORT_NAMES:
        name = name.replace(long, short)
    return name


def files_of(buckets: Iterable[Bucket]) -> Iterator[str]:
    """Makes a file in memory of each bucket, and gives its path for other processes of the same user on this machine.

    A file has no name in any file system. It lasts until the next one is asked for, and for processes that have mapped
    it.
    """
    for bucket in buckets:
        with os.fdopen(os.memfd_create("weights"), "wb") as file:
            for part in bucket:
                file.write(part.data)
            file.flush()
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


_outbox: dict[tuple[Version, int], Bucket] = {}  # of this process: what the store has not called for yet


def hand_over(_: Any, version: Version, number: int) -> Bucket:
    """Runs in the sender's process, called by the store."""
    return _outbox.pop((version, number))


def send(store: Any, version: Version, number: int, bucket: Bucket, who: str, timeout_s: float) -> None:
    """Brings bucket `number` of a version to the store. Afterwards the tensors may change.

    Must be called inside an actor that has a free thread to hand the bucket over.

    Raises:
        RemoteFailure: the store did not answer, or did not get the bucket.
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


def bring_to_store(
    store: Any, version: Version, parts: Iterable[Mapping[str, torch.Tensor]], probe: Probe, who: str, timeout_s: float
) -> None:
    """Brings a version to the store, a bucket for each part, and makes it available. Each part is freed before the
    next is made.

    Must be called where `send` may be.

    Raises:
        RemoteFailure: as `send`.
    """
    count = 0
    for part in parts:
        send(store, version, count, bucket_of(part), who, timeout_s)
        count += 1
        del part
    wait_for(store.publish.remote(version, count, probe), timeout_s, "the weight store")
