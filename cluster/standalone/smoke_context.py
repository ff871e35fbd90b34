"""What all checks of `curlvpr smoke` share: a check, its failure, and the tasks and model that it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from actors.model.encode import Encoder
    from actors.model.policy import Policy
    from actors.trajectory import Sample
    from curriculum.task import Task


class CheckFailed(Exception):
    """A check found something that is not as it should be. One line."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: shown to the user.
        gpus: how many it needs.
        run: returns its findings in words. Raises CheckFailed, or whatever else goes wrong in it.
    """

    name: str
    gpus: int
    run: Callable[[Context], str]


@dataclass(frozen=True)
class Context:
    """Tasks, model and samples for the checks, made on first use.

    Attributes:
        folder: for the files of the checks.
        gpu: run on GPUs, else on the CPU.
        dtype: the precision under test, float32 or bfloat16.
    """

    folder: Path
    gpu: bool
    dtype: str

    @property
    def device(self) -> torch.device:
        import torch

        return torch.device("cuda" if self.gpu else "cpu")

    @cached_property
    def tasks(self) -> list[Task]:
        """Six tasks with one film, two with two films."""
        from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set

        drawn = draw_phantom_set(PhantomConfig(train=8, val=4, test=4), self.folder / "films")
        tasks = [task for task in drawn if task.family == "single_choice"][:6]
        captions = ("prior film", "current film")
        pairs = [
            first.model_copy(update={"images": (*first.images, *second.images), "captions": captions})
            for first, second in zip(tasks[:2], tasks[2:4], strict=True)
        ]
        return tasks + pairs

    @cached_property
    def model(self) -> Path:
        """The folder of a tiny Qwen2.5-VL with random weights."""
        from actors.model.tiny_model import TinyModelConfig, make_tiny_model

        texts = [f"{task.asked} {task.reference}" for task in self.tasks]
        return make_tiny_model(TinyModelConfig(vision_steps=0), texts, self.folder / "model")

    @cached_property
    def encoder(self) -> Encoder:
        from actors.model.encode import Encoder, PromptConfig

        return Encoder(self.model, PromptConfig())

    @cached_property
    def samples(self) -> list[Sample]:
        """Three responses to each task, of different lengths."""
        from actors.trajectory import Sample

        rng = np.random.default_rng(0)
        size = len(self.encoder.tokenizer)
        tokens = np.setdiff1d(np.arange(size), self.encoder.forbidden(size))
        samples = []
        for task in self.tasks:
            for _ in range(3):
                prompt = self.encoder.expand(task)
                response = rng.choice(tokens, rng.integers(4, 96)).astype(np.int32)
                samples.append(Sample(prompt, task.images, response))
        return samples

    def policy(self, dtype: str, packed: bool, device: torch.device) -> Policy:
        import torch

        from actors.model.policy import Policy

        return Policy(self.model, self.encoder, getattr(torch, dtype), packed).to(device)


def check_error(name: str, error: float, limit: float) -> str:
    """Describes a measured error. Raises CheckFailed if it exceeds the limit or is not a number."""
    if not error <= limit:
        raise CheckFailed(f"{name} {error:.2g}, the limit is {limit:.2g}")
    return f"{name} {error:.2g} (limit {limit:.2g})"
