"""One rank of the learner: DeepSpeed around the policy, and what orders need of it (`orders`, `sft_update`,
`grpo_step`).
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed
from safetensors.torch import load_file, save_file

from actors.learner.deepspeed_engine import DeepSpeedEngine, settings
from actors.learner.orders import FolderModels, Order, UpdateResult
from actors.learner.profiler import Recorder
from actors.learner.reshard import ranks_of, to_universal
from actors.learner.setup import RankSetup
from actors.learner.work import WorkCount
from actors.model.encode import Encoder
from actors.model.flops.costs import model_costs
from actors.model.flops.gpus import peak_of
from actors.model.lora import adapters
from actors.model.policy import MicroBatch, Policy
from actors.model.reference import AdapterReference, FrozenPolicy
from actors.model.sharded_load import sharded_as_loaded
from actors.runtime.environment import avoid_fragmentation
from actors.runtime.files import disk_named
from actors.runtime.process_title import set_title
from actors.runtime.storage import POLICY, Storage
from actors.trajectory import Sample
from actors.weights.transports.base import Sender, SenderContext, Sent
from actors.weights.transports.store import StoreSender
from actors.weights.version import Probe, Version
from curriculum.task import Task

T = TypeVar("T")
REFERENCE = "reference.safetensors"


class DeepSpeedRank:
    """The policy on one rank, its optimiser, reference and teachers. Every rank makes the same calls in the same order.

    Args:
        rank, world: this rank's number, of how many.
    """

    def __init__(self, setup: RankSetup, rank: int, world: int) -> None:
        deepspeed = import_deepspeed(setup.config.gpus)
        self.setup, self.config = setup, setup.config
        self.rank, self.world, self.store = rank, world, setup.store
        self.device = torch.device("cuda" if self.config.gpus else "cpu")
        if self.config.gpus:
            avoid_fragmentation()
        torch.manual_seed(setup.seed)
        torch.set_num_threads(self.config.threads)
        # Compiling this operator takes a minute or more, and gloo sums a few megabytes as quickly.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend="nccl" if self.config.gpus else "gloo")
        self.encoder = Encoder(setup.model, setup.prompt, self.config.film_readers)
        self.next_films: Sequence[str] = ()  # those of the next step that are known
        with self._sharding():
            self.policy = self._make_policy().to(self.device)
        self.reference: FrozenPolicy | AdapterReference | None = None
        self.frozen: dict[str, FrozenPolicy] = {}  # by their folders: teachers, and a reference that has its own
        self.engine = DeepSpeedEngine(self.policy, self.config)
        costs = model_costs(self.policy.model, self.encoder.family, self.config.gradient_checkpointing)
        self.work = WorkCount(costs, self._peak())
        self.recorder = Recorder(on_gpu=self.device.type == "cuda")
        self.probe: Probe = []  # of the version that was published last
        self.sender: Sender | None = None  # made with the first version

    def _make_policy(self, folder: str | None = None) -> Policy:
        return Policy(folder or self.setup.model, self.encoder, getattr(torch, self.config.dtype))

    def _sharding(self) -> AbstractContextManager[None]:
        if self.config.zero_stage < 3:
            return nullcontext()
        return sharded_as_loaded(settings(self.config), getattr(torch, self.config.dtype))

    def _peak(self) -> float | None:
        """FLOP/s that this rank's GPU can do; None if that is not known, as in float32."""
        if self.device.type != "cuda" or self.config.dtype == "float32":
            return None
        peak = peak_of(torch.cuda.get_device_name())
        return peak and peak.flops

    def carry_out(self, order: Order[T]) -> T:
        """The answer to an order; an update's with the work that it took this rank."""
        self.work.restart()
        answer = order.run(self)
        self.release_cache()
        if isinstance(answer, UpdateResult):
            return cast("T", replace(answer, work=self.work.done()))
        return answer

    def release_cache(self) -> None:
        """Gives back what torch keeps of a GPU for later, if an engine wants it in the meantime."""
        if self.setup.takes_turns:
            torch.cuda.empty_cache()

    # -- reference ------------------------------------------------------------------------------------------------

    def renew_reference(self) -> None:
        """Takes the present policy as the reference that KL is measured from."""
        self._set_reference(adapters(self.policy.model) if self.config.lora else self.policy.state())

    def _set_reference(self, state: dict[str, torch.Tensor]) -> None:
        if self.config.lora:
            self.reference = AdapterReference(self.policy, state)
        else:
            self.reference = self._freeze(self._make_policy(), state)

    def _freeze(self, policy: Policy, state: dict[str, torch.Tensor] | None = None) -> FrozenPolicy:
        resting_device = self.device if self.config.offload == "none" else torch.device("cpu")
        return FrozenPolicy(policy, state, self.device, resting_device)

    def hold(self, models: FolderModels) -> None:
        """Holds the models of these folders beside the policy, and no others. They read prompts and films as the policy
        does, by its encoder.
        """
        self.frozen = {folder: model for folder, model in self.frozen.items() if folder in models.folders}
        for folder in models.folders:
            if folder not in self.frozen:
                self.frozen[folder] = self._freeze(self._make_policy(folder))
        if models.reference is not None:
            self.reference = self.frozen[models.reference]

    # -- training -------------------------------------------------------------------------------------------------

    def reference_sample(self, task: Task) -> Sample:
        """A task with its reference, which it must have, as the response."""
        assert task.reference is not None, f"task {task.id!r} has no reference"
        return Sample(self.encoder.expand(task), task.images, self.encoder.response_ids(task.reference))

    def step(
        self,
        lr: float,
        values: dict[str, float],
        samples: Sequence[Sample],
        suspects: Set[int],
        **columns: Sequence[np.ndarray],
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The optimiser's step, unless the gradient is not finite.

        Args:
            values: the update's metrics.
            samples: this rank's.
            suspects: those whose own loss was not finite, by their places in `samples`.
            columns: what else is known of each sample.

        Returns: `values` and the gradient's norm, or only that the step was skipped. Then also a row for each suspect,
            with plain columns; if no rank has any, for all samples of all ranks.
        """
        norm, applied = self.engine.step(lr)
        if applied:
            return values | {"grad_norm": norm, "skipped": 0.0}, []
        chosen = suspects if self.sum(len(suspects)) else range(len(samples))
        rows = []
        for i in sorted(chosen):
            row = {
                "rank": self.rank,
                "images": list(samples[i].images),
                "prompt_ids": samples[i].prompt_ids,
                "response_ids": samples[i].response_ids,
            }
            rows.append(row | {name: column[i] for name, column in columns.items()})
        return {"skipped": 1.0}, rows

    def batches(
        self, samples: Sequence[Sample], chosen: Sequence[int] | None = None, policy: Policy | None = None
    ) -> Iterator[tuple[MicroBatch, bool, float]]:
        """(batch, whether it is the last, weight) over the chosen samples, or all; equally many on every rank. They are
        for `policy`, by default the one that is trained.

        ZeRO-2 and 3 talk to the other ranks in every pass. So a rank that has less to do cuts it finer; if it cannot,
        it repeats its last batch with weight 0.
        """
        chosen = range(len(samples)) if chosen is None else chosen
        policy = policy or self.policy
        costs = None if policy is self.policy else policy.costs
        cuts = policy.cut(samples, chosen, self.config.micro_batch_tokens)
        self.read_ahead(samples[i].images for cut in cuts for i in cut)
        count = int(self.max(len(cuts)))
        if len(cuts) < count:
            cuts = policy.cut(samples, chosen, self.config.micro_batch_tokens, count) or [[0]]
        for number in range(count):
            index = cuts[min(number, len(cuts) - 1)]
            weight = float(number < len(cuts) and bool(chosen))
            batch = policy.collate(samples, index, self.device)
            if weight:
                self.work.add(batch.amounts, torch.is_grad_enabled(), costs)
            yield batch, number == count - 1, weight
            self.recorder.passed()

    def read_ahead(self, images: Iterable[Sequence[str]]) -> None:
        """Has the films of tasks, which are needed in this order, and then those of the next step read beside the rest
        of the work.
        """
        self.encoder.films.expect([*chain.from_iterable(images), *self.next_films])

    @torch.no_grad()
    def logprobs(
        self,
        policy: Policy,
        samples: Sequence[Sample],
        temperature: float,
        raw: bool = False,
        chosen: Sequence[int] | None = None,
    ) -> list[np.ndarray]:
        """float32 [tokens] for each sample, by a forward without gradient; zeros for those that are not `chosen`."""
        out: list[np.ndarray] = [np.zeros(len(sample.response_ids), np.float32) for sample in samples]
        for batch, _, weight in self.batches(samples, chosen, policy):
            logp, _ = policy(batch, temperature, raw)
            if not weight:
                continue
            for i, values in zip(batch.index, logp.float().cpu().split(batch.lengths), strict=True):
                out[i] = values.numpy()
        return out

    def reference_logprobs(self, samples: Sequence[Sample], temperature: float) -> list[np.ndarray]:
        """As `logprobs`, of the reference."""
        assert self.reference is not None
        with self.reference.loaded() as policy:
            return self.logprobs(policy, samples, temperature)

    @staticmethod
    def non_finite(batch: MicroBatch, values: torch.Tensor) -> set[int]:
        """The samples of a batch with a number that is not finite among their `values` [response tokens]."""
        values = values.detach()
        if torch.isfinite(values.sum()):
            return set()
        return {i for i, own in zip(batch.index, values.split(batch.lengths), strict=True) if not own.isfinite().all()}

    def sum(self, value: float) -> float:
        """Over all ranks."""
        return self._reduce(value, torch.distributed.ReduceOp.SUM)

    def max(self, value: float) -> float:
        """Over all ranks."""
        return self._reduce(value, torch.distributed.ReduceOp.MAX)

    def _reduce(self, value: float, operation: Any) -> float:
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, operation)
        return tensor.item()

    # -- weights --------------------------------------------------------------------------------------------------

    def publish(self, version: Version, probe: Sequence[Task], receivers: Mapping[str, str]) -> Sent:
        """Sends the present weights by the transport; rank 0 sends, and knows what became of them."""
        set_title(f"learner-{self.rank} v{version.number}")
        samples = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(probe_text(t))) for t in probe]
        values = self.logprobs(self.policy, samples, 1.0, raw=True)
        self.probe = list(zip(probe, samples, values, strict=True))
        if self.sender is None:
            self.sender = self.setup.transport.sender(self._sender_context())
        return self._send(self.sender, version, receivers)

    def keep(self, version: Version) -> None:
        """Brings the present weights to the weight store, with the probe that was published last."""
        self._send(StoreSender(self._sender_context()), version, {})

    def _send(self, sender: Sender, version: Version, receivers: Mapping[str, str]) -> Sent:
        sizes: list[int] = []
        parts = self._weighed(sizes)
        sent = Sent(0, [])
        if self.rank == 0:
            sent = sender.send(version, map(self.policy.published, parts), self.probe, receivers)
        deque(parts, maxlen=0)  # every rank takes part in all of them
        return sent._replace(bytes=sum(sizes))

    def _weighed(self, sizes: list[int]) -> Iterator[dict[str, torch.Tensor]]:
        """What is published, in parts; their bytes go to `sizes`."""
        for part in self.policy.parts(wanted=self.rank == 0, adapters_alone=self.setup.adapters_alone):
            sizes.append(sum(value.nbytes for value in part.values()))
            yield part

    def _sender_context(self) -> SenderContext:
        name = f"learner rank {self.rank}"
        return SenderContext(name, self.store, self.device, self.config.silent_s, self.config.timeout_s)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def save(self, storage: Storage) -> dict[str, str]:
        """Writes DeepSpeed's checkpoint. Returns the SHA-256 of every file that this rank wrote, by its path in the
        folder.
        """
        place = storage.path if storage.local else tempfile.gettempdir()
        with disk_named(place), storage.workspace() as folder:  # the rank's own, which shows which files it wrote
            self.engine.save(folder)
            policy = self.policy.state(wanted=self.rank == 0)
            if self.rank == 0:
                save_file(self.policy.published(policy), folder / POLICY)
                if self.reference is not None and self.reference not in self.frozen.values():
                    save_file(self.reference.state(), folder / REFERENCE)
            return storage.take_in(folder)

    def load(self, storage: Storage) -> None:
        """Reads what `save` wrote on this number of ranks, or on another one."""
        with storage.here() as folder:
            if ranks_of(folder, self.config.zero_stage) in (None, self.world):
                self.engine.load(folder)
            else:
                self._load_resharded(folder, storage.child("resharded"))
            if (folder / REFERENCE).is_file():
                self._set_reference(load_file(folder / REFERENCE))

    def _load_resharded(self, folder: Path, shared: Storage) -> None:
        """Reads a commit of another number of ranks. Meanwhile `shared`, which all ranks reach, holds a form of it that
        any number of ranks can read.
        """
        fault: Exception | None = None
        if self.rank == 0:
            try:
                shared.clear()
                with shared.workspace() as workspace:
                    to_universal(folder, workspace)
                    shared.take_in(workspace)
            except Exception as error:  # noqa: BLE001 - the other ranks must not wait for it
                fault = error
        if self.max(float(fault is not None)):
            raise fault or RuntimeError("rank 0 could not convert the commit")
        with shared.here() as universal:
            self.engine.load(universal, universal=True)
        self.max(0.0)  # all have read it
        if self.rank == 0:
            shared.remove()

    def export(self, folder: Path) -> None:
        """Writes a Hugging Face folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM load.

        The folder is there when it is complete, not before.
        """
        state = self.policy.state(wanted=self.rank == 0)
        if self.rank != 0:
            return
        partial = folder.with_name(f".{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with disk_named(folder):
                self.policy.model.save_pretrained(partial, state_dict=state)
                self.encoder.processor.save_pretrained(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier end of the same run
        partial.rename(folder)


def import_deepspeed(gpus: float) -> ModuleType:
    """DeepSpeed for a rank with or without GPUs. By itself it takes a GPU wherever torch sees one, and a rank that Ray
    gave none sees all of its node.
    """
    if not gpus:
        os.environ["DS_ACCELERATOR"] = "cpu"
    return importlib.import_module("deepspeed")


def probe_text(task: Task) -> str:
    """A response to probe with. Its content does not matter: both sides only have to read the same."""
    return task.reference or f"<think>{task.question}</think><answer>{', '.join(task.gold)}</answer>"
