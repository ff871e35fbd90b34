"""Shared memory through which a rollout worker shows its engine's processes a bucket of weights."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
import torch

from .weights import Bucket

ALIGNED = 64  # bytes; a tensor of any type may begin there
Layout = list[tuple[str, str, list[int], int]]  # name, dtype, shape, first byte


class Window:
    """A context. It has no name in any file system, and goes with the process. Other processes of the same user on this
    machine read it by `path`."""

    def __enter__(self) -> "Window":
        self.file = os.memfd_create("weights")
        self.path = f"/proc/{os.getpid()}/fd/{self.file}"
        self.memory = np.empty(0, np.uint8)
        return self

    def __exit__(self, *_: object) -> None:
        del self.memory
        os.close(self.file)

    def show(self, bucket: Bucket) -> Layout:
        """Puts a bucket in place of the one before."""
        layout, end = [], 0
        for piece in bucket:
            layout.append((piece.name, piece.dtype, list(piece.shape), end))
            end += -(-piece.data.nbytes // ALIGNED) * ALIGNED
        if end > self.memory.nbytes:
            os.truncate(self.file, end)
            self.memory = np.frombuffer(mmap.mmap(self.file, end), np.uint8)
        for piece, (*_, start) in zip(bucket, layout, strict=True):
            self.memory[start : start + piece.data.nbytes] = piece.data
        return layout


def look(path: str, layout: Layout, device: Any) -> list[tuple[str, torch.Tensor]]:
    """Copies of the tensors that a window shows, by name. They are copies since vLLM loads a layer when all of it has come,
    which may be after the window shows the next bucket."""
    with open(path, "rb") as file:
        memory = torch.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=torch.uint8)
    tensors = []
    for name, dtype, shape, start in layout:
        kind = getattr(torch, dtype)
        stop = start + kind.itemsize * int(np.prod(shape))
        tensors.append((name, memory[start:stop].view(kind).reshape(shape).to(device, copy=True)))
    return tensors
