"""`curlvpr smoke`: tries what hangs on the processor, on this machine, one check after the other and one line for each.

No GPU has seen this code yet; what runs on a CPU here is compared with float64 or float32, and so is what runs on a GPU then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.errors import UserError, error_line

if TYPE_CHECKING:
    import torch

    from actors.model.encode import Encoder
    from actors.model.policy import Policy
    from actors.trajectory import Sample
    from curriculum.task import Task

HEAD_SIZES = (32, 72, 80, 128)  # the tiny model's, Qwen3-VL's and Qwen2.5-VL's eyes, the text of both


class Failed(Exception):
    """What a check saw is not what it should be. One line."""


@dataclass(frozen=True)
class Check:
    """`gpus`: how many it needs. `run` gives what it saw in words.

    `run` raises Failed, or whatever else goes wrong in it.
    """

    name: str
    gpus: int
    run: Callable[["Place"], str]


@dataclass(frozen=True)
class Place:
    """Where checks are made, and what all of them work on. `folder` is theirs."""

    folder: Path
    gpu: bool
    dtype: str

    @property
    def device(self) -> torch.device:
        import torch

        return torch.device("cuda" if self.gpu else "cpu")

    @cached_property
    def tasks(self) -> list[Task]:
        """On one film and on two."""
        from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set

        drawn = draw_phantom_set(PhantomConfig(train=8, val=4, test=4), self.folder / "films")
        tasks = [task for task in drawn if task.family == "single_choice"][:6]
        return [
            *tasks,
            *(
                a.model_copy(update={"images": (*a.images, *b.images), "captions": ("prior film", "current film")})
                for a, b in zip(tasks[:2], tasks[2:])
            ),
        ]

    @cached_property
    def model(self) -> Path:
        """A tiny Qwen2.5-VL with random weights."""
        from actors.model.tiny_model import TinyModelConfig, make_tiny_model

        texts = [" ".join([task.asked, task.reference]) for task in self.tasks]
        return make_tiny_model(TinyModelConfig(vision_steps=0), texts, self.folder / "model")

    @cached_property
    def encoder(self) -> Encoder:
        from actors.model.encode import Encoder, PromptConfig

        return Encoder(self.model, PromptConfig())

    @cached_property
    def samples(self) -> list[Sample]:
        """Three responses to each task, of different lengths."""
        from actors.trajectory import Sample

        draw = np.random.default_rng(0)
        words = np.setdiff1d(
            np.arange(len(self.encoder.tokenizer)), self.encoder.forbidden(len(self.encoder.tokenizer))
        )
        return [
            Sample(self.encoder.expand(task), task.images, draw.choice(words, draw.integers(4, 96)).astype(np.int32))
            for task in self.tasks
            for _ in range(3)
        ]

    def policy(self, dtype: str, packed: bool, device: torch.device) -> Policy:
        import torch

        from actors.model.policy import Policy

        return Policy(self.model, self.encoder, getattr(torch, dtype), packed).to(device)


def smoke(gpu: bool) -> bool:
    """Makes the checks, and prints them. Returns whether none failed.

    Raises:
        UserError: GPUs are asked for, and there is none.
    """
    import torch

    if gpu and not torch.cuda.is_available():
        raise UserError(
            f"smoke --gpu: torch {torch.__version__} sees no GPU; curlvpr doctor says what there is and what lacks. "
            "Without --gpu the same is tried on the CPU, as far as it can be."
        )
    if not gpu:
        os.environ.setdefault(
            "DS_ACCELERATOR", "cpu"
        )  # else DeepSpeed says on standard output that it found nothing better
    gpus = torch.cuda.device_count() if gpu else 0
    folder = Path(tempfile.mkdtemp(prefix="curlvpr-smoke-"))
    fine = try_all(ON_GPUS if gpu else ON_CPU, Place(folder, gpu, "bfloat16" if gpu else "float32"), gpus)
    if fine:
        shutil.rmtree(folder)
    else:
        print(f"what the checks made is kept in {folder}")
    return fine


def try_all(checks: Sequence[Check], place: Place, gpus: int) -> bool:
    """Makes the checks in turn, and prints a line for each; returns whether none failed. `gpus` is how many there are."""
    told = {"ok": 0, "failed": 0, "left out": 0}
    for check in checks:
        start = time.monotonic()
        if gpus < check.gpus:
            mark, seen = "left out", f"it needs {check.gpus} GPUs, here {'is' if gpus == 1 else 'are'} {gpus}"
        else:
            try:
                mark, seen = "ok", check.run(place)
            except Failed as error:
                mark, seen = "failed", str(error)
            except Exception as error:
                mark, seen = "failed", error_line(error)
        told[mark] += 1
        print(f"{mark:<8}  {check.name}: {seen} ({time.monotonic() - start:.0f} s)", flush=True)
    print(", ".join(f"{count} {mark}" for mark, count in told.items() if count or mark != "left out"))
    return not told["failed"]


def within(what: str, seen: float, limit: float) -> str:
    """In words. Raises Failed: it is beyond the limit, or no number."""
    if not seen <= limit:
        raise Failed(f"{what} {seen:.2g}, at most {limit:.2g} is right")
    return f"{what} {seen:.2g} (at most {limit:.2g})"


# -- the checks ---------------------------------------------------------------------------------------------------------


def attention(place: Place) -> str:
    """Packed and windowed attention and their gradients, by head size, against a whole matrix in float64."""
    import torch

    from actors.model.attention import RowSegments, packed_attention, window_attention
    from actors.model.packing import Segments

    dtype, draw = getattr(torch, place.dtype), torch.Generator().manual_seed(0)
    segments = Segments((70, 19, 130, 21, 5), (None, 0, 0, None, 3))
    borders = np.cumsum((0, *segments.lengths))
    seen, window = torch.zeros(2, borders[-1], borders[-1], dtype=torch.bool)
    for start, end, prompt in zip(borders, borders[1:], segments.prompts):
        seen[start:end, start:end] = torch.ones(end - start, end - start).tril()
        window[start:end, start:end] = True
        if prompt is not None:
            seen[start:end, borders[prompt] : borders[prompt + 1]] = True
    windows = torch.as_tensor(borders, dtype=torch.int32, device=place.device)
    worst = 0.0
    for size in HEAD_SIZES:
        shapes = [(1, heads, int(borders[-1]), size) for heads in (4, 2, 2)]
        given = [torch.randn(shape, generator=draw).to(dtype) for shape in shapes]
        weight = torch.randn(1, int(borders[-1]), 4, size, generator=draw).to(dtype)

        def results(device: Any, dtype: Any, attend: Callable[..., Any]) -> list[torch.Tensor]:
            q, k, v = (part.to(device, dtype, copy=True).requires_grad_() for part in given)
            out = attend(q, k, v)
            (out * weight.to(device, dtype)).sum().backward()
            return [part.detach().cpu().double() for part in (out, q.grad, k.grad, v.grad)]

        def plain(mask: torch.Tensor) -> Callable[..., Any]:
            def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
                k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
                return ((q @ k.mT * size**-0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v).transpose(1, 2)

            return attend

        def packed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return packed_attention(None, q, k, v, None, size**-0.5, RowSegments(segments, place.device))[0]

        def windowed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
            return window_attention(None, q, k, v, None, size**-0.5, windows, max(segments.lengths))[0]

        for ours, mask in ((packed, seen), (windowed, window)):
            for got, wanted in zip(
                results(place.device, dtype, ours), results("cpu", torch.float64, plain(mask)), strict=True
            ):
                worst = max(worst, float((got - wanted).abs().max() / wanted.abs().max()))
    return within("largest error over largest value", worst, 1e-5 if place.dtype == "float32" else 0.03)


def packing(place: Place) -> str:
    """The learner's log-probabilities and gradient with samples packed, against padded ones in float32 on the CPU. Half precision
    is let err as far as it does on this device with padded samples, and half as much again."""
    import torch

    tokens = sum(len(sample.response_ids) for sample in place.samples)

    def learnt(dtype: str, packed: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        policy = place.policy(dtype, packed, device)
        told = [torch.zeros(0)] * len(place.samples)
        for index in policy.cut(place.samples, range(len(place.samples)), 2048):
            batch = policy.collate(place.samples, index, device)
            logp, _ = policy(batch, 1.0)
            (logp.sum() / tokens).backward()
            for i, values in zip(batch.index, logp.detach().cpu().split(batch.lengths), strict=True):
                told[i] = values
        return torch.cat(told), torch.cat([p.grad.float().cpu().flatten() for p in policy.parameters()])

    def off(got: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float]:
        return float((got[0] - plain[0]).abs().mean()), float((got[1] - plain[1]).norm() / plain[1].norm())

    plain = learnt("float32", False, torch.device("cpu"))
    limits = (1e-5, 1e-4)
    if place.dtype != "float32":
        limits = [1.5 * error for error in off(learnt(place.dtype, False, place.device))]
    logp, gradient = off(learnt(place.dtype, True, place.device))
    return f"{within('mean log-probability off by', logp, limits[0])}, {within('gradient by', gradient, limits[1])}"


def engine(place: Place) -> str:
    """vLLM's log-probabilities, of responses to one film and to two, against the learner's in float32 on the CPU. Half precision
    is let err three times as far as the learner does with it."""
    import torch

    from actors.rollout.config import RolloutConfig
    from actors.rollout.vllm_engine import VllmEngine

    samples = place.samples[::3]

    def told(dtype: str, device: torch.device) -> list[np.ndarray]:
        policy = place.policy(dtype, False, device)
        with torch.no_grad():
            return [
                policy(policy.collate(samples, [i], device), 1.0, raw=True)[0].cpu().numpy()
                for i in range(len(samples))
            ]

    plain, limit = told("float32", torch.device("cpu")), 1e-4
    if place.dtype != "float32":
        limit = 3 * max(float(np.abs(a - b).max()) for a, b in zip(told(place.dtype, place.device), plain, strict=True))
    config = RolloutConfig(gpus=float(place.gpu), dtype=place.dtype, max_model_tokens=512, gpu_memory=0.5, threads=2)

    async def difference() -> float:
        stands = VllmEngine(config, str(place.model), place.encoder, 2)
        try:
            return await stands.difference(list(zip(place.tasks, samples, plain, strict=True)))
        finally:
            stands.llm.shutdown()
            stands.llm.shutdown = lambda: None  # vLLM does so again when Python ends, and complains then

    return within("largest difference of a log-probability", asyncio.run(difference()), limit)


class QuietDisplay:
    """The display of a run that shows nothing, and keeps the steps of reinforcement learning."""

    def __init__(self) -> None:
        self.steps: list[Mapping[str, Any]] = []

    def say(self, text: str) -> None:
        pass

    def step(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "grpo":
            self.steps.append(row)

    def evaluation(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass


def whole_run(
    name: str, place: Place, rollout: Mapping[str, Any] = {}, learner: Mapping[str, Any] = {}, transport: str = "auto"
) -> str:
    """A run of every stage in a few steps; the learner gives what engines wrote the log-probabilities that they had there."""
    from cluster.config.recipe import Recipe
    from cluster.control.ray_connection import ray_cluster
    from cluster.record.console import LoggedDisplay
    from cluster.run.launch import open_run

    half = place.dtype != "float32"
    training = {"tasks_per_step": 8, "group_size": 4, "lr": 1e-4, "kl": 0.01}
    recipe = Recipe.model_validate(
        {
            "name": name,
            "root": place.folder,
            "transport": transport,
            "data": {"phantoms": {"train": 60, "val": 8, "test": 12}},
            "model": {"tiny": {"vision_steps": 0}},
            "stages": [
                {
                    "name": "sft",
                    "kind": "sft",
                    "tasks": {"binary": 1, "diagnosis": 1},
                    "gate": {"measure": "closed_accuracy", "every": 12, "max_steps": 12},
                    "training": {"lr": 1e-3, "tasks_per_step": 16},
                },
                {
                    "name": "closed",
                    "kind": "grpo",
                    "tasks": {"binary": 1},
                    "training": training,
                    "gate": {"measure": "closed_accuracy", "every": 2, "max_steps": 2},
                },
                {
                    "name": "open",
                    "kind": "grpo",
                    "tasks": {"diagnosis": 1},
                    "training": training | {"updates_per_step": 2},
                    "gate": {"measure": "open_micro_f1", "every": 2, "max_steps": 2},
                },
            ],
            "rollout": {
                "cpus": 0.5,
                "dtype": place.dtype,
                "max_response_tokens": 96,
                "max_model_tokens": 384,
                "probe_tolerance": 0.3 if half else 1e-4,
                **rollout,
            },
            "reward": {"cpus": 0.25},
            "learner": {"cpus": 0.5, "threads": 2, "dtype": place.dtype, "zero_stage": int(half), **learner},
            "evaluation": {"val_per_family": 8, "test_per_family": 8},
            "guards": [],
        }
    )
    told = QuietDisplay()
    with ray_cluster(recipe.roles), open_run(recipe, place.folder / name, LoggedDisplay(told, name)) as run:
        summary = run.train()
        run.close()
    ledger = summary["ledger"]
    if ledger["issued"] != ledger["trained"] + ledger["dropped"] + ledger["in_flight"]:
        raise Failed(f"the ledger does not balance: {ledger}")
    if skipped := sum(row["skipped"] for row in told.steps):
        raise Failed(f"{skipped:g} updates were skipped, since their gradients were not finite")
    off = max(row["logp_diff_mean"] for row in told.steps)
    if missed := [row["stage_step"] for row in told.steps if row.get("by_collective", 1.0) < 1]:
        raise Failed(
            f"weights did not go straight to every rollout worker in {len(missed)} of {len(told.steps)} steps, but through "
            "the store"
        )
    way = ("by NCCL" if recipe.learner.gpus else "by gloo") if recipe.collective else "through the store"
    return (
        f"{summary['steps']} steps; weights went {way}; "
        f"{within('engine and learner differ by a mean of', off, 0.05 if half else 1e-5)}"
    )


def shared(place: Place) -> str:
    return whole_run(
        "shared-gpu",
        place,
        {"gpus": 0.5, "sleep": True, "gpu_memory": 0.4},
        {"gpus": 0.5, "offload": "optimiser", "gradient_checkpointing": True},
    )


def apart(place: Place) -> str:
    return whole_run("gpu-each", place, {"gpus": 1}, {"gpus": 1})


def sharded(place: Place) -> str:
    """More than half a GPU for each rank, so that both have one of their own."""
    return whole_run(
        "two-ranks",
        place,
        {"gpus": 0.4, "sleep": True, "gpu_memory": 0.4},
        {"workers": 2, "gpus": 0.6, "zero_stage": 3},
    )


NUMBERS = (
    Check("attention in packs and windows", 0, attention),
    Check("packed samples as padded ones", 0, packing),
    Check("engine and learner have the same numbers", 0, engine),
)
ON_CPU = (*NUMBERS, Check("whole run", 0, lambda place: whole_run("cpu", place, transport="collective")))
ON_GPUS = (
    *NUMBERS,
    Check("whole run, engine and learner on one GPU in turn", 1, shared),
    Check("whole run, a GPU for each", 2, apart),
    Check("whole run, two ranks by ZeRO 3", 2, sharded),
)
