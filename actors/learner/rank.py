"""What one learner rank does: DeepSpeed around the policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from safetensors.torch import load_file, save_file

from actors.algorithm.advantage import batch_advantages
from actors.algorithm.config import GrpoTraining
from actors.algorithm.loss import Tokens, kl_estimate, objective, response_weights
from actors.learner.config import LearnerConfig
from actors.learner.deepspeed_engine import DeepSpeedEngine
from actors.learner.reshard import ranks_of, to_universal
from actors.model.encode import Encoder
from actors.model.lora import adapters
from actors.model.packing import packed_tokens, share_out
from actors.model.policy import MicroBatch, Policy
from actors.model.reference import AdapterReference, CopiedReference
from actors.runtime.process_title import set_title
from actors.runtime.remote import wait_for
from actors.runtime.storage import POLICY, Storage
from actors.trajectory import Sample, ScoredGroup
from actors.weights.broadcast import Broadcaster, Sent
from actors.weights.store import Probe, Version, publish
from curriculum.task import Task

REFERENCE = "reference.safetensors"


class DeepSpeedRank:
    def __init__(self, setup: dict[str, Any], rank: int, world: int) -> None:
        import deepspeed

        self.setup = setup
        self.config: LearnerConfig = setup["config"]
        self.rank, self.world, self.store = rank, world, setup["store"]
        self.device = torch.device("cuda" if self.config.gpus else "cpu")
        torch.manual_seed(setup["seed"])
        torch.set_num_threads(self.config.threads)
        # Compiling this operator takes a minute or more, and gloo sums a few megabytes as quickly.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend="nccl" if self.config.gpus else "gloo")
        self.encoder = Encoder(setup["model"], setup["prompt"])
        self.policy = Policy(setup["model"], self.encoder, getattr(torch, self.config.dtype)).to(self.device)
        self.reference: CopiedReference | AdapterReference | None = None
        self.engine = DeepSpeedEngine(self.policy, self.config)
        self.probe: Probe = []  # of the version that was published last
        self.broadcaster: Broadcaster | None = None

    def hello(self) -> None:
        """Nothing; that the rank could be built is the answer."""

    def start_stage(self, fresh_optimiser: bool, reference: bool, keep_reference: bool) -> None:
        if fresh_optimiser:
            self.engine.fresh_optimiser()
        if not reference:
            self.reference = None
        elif self.reference is None or not keep_reference:
            self._set_reference(adapters(self.policy.model) if self.config.lora else self.policy.state())

    def _set_reference(self, state: dict[str, torch.Tensor]) -> None:
        if self.config.lora:
            self.reference = AdapterReference(self.policy, state)
            return
        copy = Policy(self.setup["model"], self.encoder, getattr(torch, self.config.dtype))
        idle_device = self.device if self.config.offload == "none" else torch.device("cpu")
        self.reference = CopiedReference(copy, state, self.device, idle_device)

    # -- training -------------------------------------------------------------------------------------------------

    def sft(self, tasks: Sequence[Task], lr: float) -> dict[str, float]:
        """One update on the references of `tasks`; the loss is the mean over all response tokens of all ranks."""
        shares = share_out(
            [len(t.question) + len(t.reference) for t in tasks], self.world
        )  # other ranks' films stay unread
        mine = [
            Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(t.reference))
            for t in (tasks[i] for i in shares[self.rank] or [0])
        ]
        chosen = range(len(shares[self.rank]))  # where there are fewer tasks than ranks: nothing
        tokens = int(self._sum(sum(len(mine[i].response_ids) for i in chosen)))
        total, suspects = 0.0, set[int]()
        for batch, last, weight in self._batches(mine, chosen):
            logp, _ = self.engine(batch, 1.0)
            loss = -weight * logp.sum() / tokens
            self.engine.backward(loss, last)
            total += loss.item()
            suspects |= not_finite(batch, logp)
        culprits: list[dict[str, Any]] = []
        values = self._step(lr, {"loss": self._sum(total)}, culprits, mine, suspects)
        return values | {"lr": lr, "tokens": tokens, "culprits": culprits}

    def grpo(self, groups: Any, training: GrpoTraining, lr: float, temperature: float) -> dict[str, float]:
        """`updates_per_step` updates on scored groups, whose advantages are those among all groups of the step."""
        scored: list[ScoredGroup] = groups if isinstance(groups, list) else wait_for(groups, 60, "the batch's owner")
        parts = [
            UpdateBatch(scored, range(i, len(scored), training.updates_per_step), self.rank, self.world, training)
            for i in range(training.updates_per_step)
        ]
        fined = training.kl > 0 and training.kl_in == "reward"
        for number, part in enumerate(parts):
            if number or fined:  # later updates are off their own policy: remember what the policy was
                part.old = self._logprobs(self.policy, part.samples, temperature)
            if fined:
                part.reference = self._reference_logprobs(part.samples, temperature)
        advantages = batch_advantages(
            [s.verdicts for s in scored],
            [[t.char_ends for t in s.group.trajectories] for s in scored],
            training.credit,
            training.process_weight,
            training.baseline,
            training.normalise,
            self._penalties(parts, scored, training) if fined else None,
        )
        log: dict[str, list[float]] = {}
        culprits: list[dict[str, Any]] = []
        for part in parts:
            part.advantages = [advantages[group][response] for group, response in part.places]
            if self.reference is not None and not fined:
                part.reference = self._reference_logprobs(part.samples, temperature)
            values = self._update(part, training, lr, temperature, culprits)
            for name, value in values.items():
                log.setdefault(name, []).append(value)
        result = {name: float(np.mean(values)) for name, values in log.items()} | {"skipped": sum(log["skipped"])}
        differences = torch.cat([torch.cat(part.differences) for part in parts if part.differences] or [torch.zeros(1)])
        result["logp_diff_max"] = self._max(differences.max().item())
        result["logp_diff_mean"] = self._sum(differences.sum().item()) / self._sum(len(differences))
        result["ratio_diff_max"] = self._max(torch.expm1(differences).max().item())
        result["tokens"] = sum(part.all_tokens for part in parts)
        return result | {"lr": lr, "culprits": culprits}

    def _penalties(
        self, parts: Sequence["UpdateBatch"], scored: Sequence[ScoredGroup], training: GrpoTraining
    ) -> list[list[np.ndarray]]:
        """What KL takes off the reward at each token: for each group, float64 [tokens] for each response, from all ranks."""
        own = {}
        for part in parts:
            for place, old, reference in zip(part.places, part.old, part.reference, strict=True):
                both = (torch.from_numpy(values).double() for values in (old, reference))
                own[place] = training.kl * kl_estimate(*both, training.kl_estimator).numpy()
        gathered = [own] * self.world
        if self.world > 1:
            torch.distributed.all_gather_object(gathered, own)
        penalties = {place: values for ranks in gathered for place, values in ranks.items()}
        return [[penalties[group, response] for response in range(len(s.verdicts))] for group, s in enumerate(scored)]

    def _update(
        self, part: "UpdateBatch", training: GrpoTraining, lr: float, temperature: float, culprits: list[dict[str, Any]]
    ) -> dict[str, float]:
        """One optimiser step on a part of the batch; where it was skipped, `culprits` tells why.

        Where no term of the loss is for all tokens (KL, entropy), responses without any advantage have no gradient: they are
        read without a backward.
        """
        sums = dict.fromkeys(("loss", "kl", "entropy", "clipped", "correction"), 0.0)
        suspects = set[int]()

        def read(batch: MicroBatch, weight: float, logp: torch.Tensor, entropy: torch.Tensor) -> torch.Tensor:
            flat = lambda values: torch.as_tensor(  # noqa: E731
                np.concatenate([values[i] for i in batch.index]), device=self.device
            )
            tokens = Tokens(
                flat(part.old) if part.old else logp.detach(),
                flat(part.rollout),
                flat(part.advantages),
                flat(part.weights),
                flat(part.reference) if part.reference else None,
            )
            loss, told = objective(logp, entropy, tokens, batch.lengths, training)
            suspects.update(not_finite(batch, told.pop("loss")))
            if weight:
                part.differences.append((tokens.old - tokens.rollout).abs().cpu())
                kept = tokens.weights > 0
                for name, values in (told | {"entropy": entropy.detach()}).items():
                    sums[name] += values[kept].sum().item() / max(part.all_kept, 1)
                sums["loss"] += loss.item()
            return weight * loss

        for_all = training.entropy > 0 or (training.kl > 0 and training.kl_in == "loss")
        teaching = [i for i in range(len(part.samples)) if for_all or (part.advantages[i] * part.weights[i]).any()]
        teaching = teaching or [0]  # every rank takes part in the step
        with torch.no_grad():
            silent = sorted(set(range(len(part.samples))) - set(teaching))
            for batch, _, weight in self._batches(part.samples, silent):
                read(batch, weight, *self.policy(batch, temperature))
        for batch, last, weight in self._batches(part.samples, teaching):
            self.engine.backward(read(batch, weight, *self.engine(batch, temperature)), last)
        values = self._step(
            lr,
            {name: self._sum(value) for name, value in sums.items()},
            culprits,
            part.samples,
            suspects,
            advantages=part.advantages,
            weights=part.weights,
            rollout_logprobs=part.rollout,
        )
        if values["skipped"]:
            part.differences.clear()
        return values

    def _step(
        self,
        lr: float,
        values: dict[str, float],
        culprits: list[dict[str, Any]],
        samples: Sequence[Sample],
        suspects: Set[int],
        **told: Sequence[np.ndarray],
    ) -> dict[str, float]:
        """The optimiser's step. `values` and the gradient's norm; where this is not finite, that the step was skipped, and no more.

        `culprits` gets the samples whose own loss was not finite, as plain columns with what is `told` of each; where no rank
        has any, all samples of all ranks.
        """
        norm, applied = self.engine.step(lr)
        if applied:
            return values | {"grad_norm": norm, "skipped": 0.0}
        chosen = suspects if self._sum(len(suspects)) else range(len(samples))
        culprits.extend(
            {
                "rank": self.rank,
                "images": list(samples[i].images),
                "prompt_ids": samples[i].prompt_ids,
                "response_ids": samples[i].response_ids,
            }
            | {name: rows[i] for name, rows in told.items()}
            for i in sorted(chosen)
        )
        return {"skipped": 1.0}

    def _batches(
        self, samples: Sequence[Sample], chosen: Sequence[int] | None = None
    ) -> Iterator[tuple[MicroBatch, bool, float]]:
        """(batch, whether it is the last, weight) over the chosen samples, equally many on every rank.

        A rank that has less cuts it finer, or where it cannot, repeats its last batch with weight 0, since ZeRO-2 and 3 talk
        to the others in every pass.
        """
        chosen = range(len(samples)) if chosen is None else chosen
        cuts = self.policy.cut(samples, chosen, self.config.micro_batch_tokens)
        count = int(self._max(len(cuts)))
        if len(cuts) < count:
            cuts = self.policy.cut(samples, chosen, self.config.micro_batch_tokens, count) or [[0]]
        for number in range(count):
            index = cuts[min(number, len(cuts) - 1)]
            yield (
                self.policy.collate(samples, index, self.device),
                number == count - 1,
                float(number < len(cuts) and bool(chosen)),
            )

    @torch.no_grad()
    def _logprobs(
        self, policy: Policy, samples: Sequence[Sample], temperature: float, raw: bool = False
    ) -> list[np.ndarray]:
        """float32 [tokens] for each sample, by a forward without gradient."""
        out: list[np.ndarray] = [np.zeros(0, np.float32)] * len(samples)
        for batch, *_ in self._batches(samples):
            logp, _ = policy(batch, temperature, raw)
            for i, values in zip(batch.index, logp.float().cpu().split(batch.lengths), strict=True):
                out[i] = values.numpy()
        return out

    def _reference_logprobs(self, samples: Sequence[Sample], temperature: float) -> list[np.ndarray]:
        with self.reference.loaded() as policy:
            return self._logprobs(policy, samples, temperature)

    def _sum(self, value: float) -> float:
        return self._reduce(value, torch.distributed.ReduceOp.SUM)

    def _max(self, value: float) -> float:
        return self._reduce(value, torch.distributed.ReduceOp.MAX)

    def _reduce(self, value: float, how: Any) -> float:
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, how)
        return tensor.item()

    # -- weights --------------------------------------------------------------------------------------------------

    def publish(
        self, version: Version, probe: Sequence[Task], receivers: Mapping[str, str] | None = None
    ) -> Sent | None:
        """Brings a version to the store; or straight to the `receivers` (names by actor), and then `keep` comes next."""
        set_title(f"learner-{self.rank} v{version.number}")
        samples = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(probe_text(t))) for t in probe]
        values = self._logprobs(self.policy, samples, 1.0, raw=True)
        self.probe = list(zip(probe, samples, values, strict=True))
        if receivers is None:
            return self.keep(version)
        parts = self.policy.parts(wanted=self.rank == 0)
        if self.rank == 0:
            self.broadcaster = self.broadcaster or Broadcaster(self.store, self.device, self.config.silent_s)
            return self.broadcaster.send(version, map(self.policy.published, parts), self.probe, receivers)
        deque(parts, maxlen=0)  # every rank takes part
        return None

    def keep(self, version: Version) -> None:
        """Brings the present weights to the store, with the probe that was published last."""
        parts = self.policy.parts(wanted=self.rank == 0)
        if self.rank == 0:
            publish(
                self.store,
                version,
                map(self.policy.published, parts),
                self.probe,
                "learner rank 0",
                self.config.timeout_s,
            )
        else:
            deque(parts, maxlen=0)

    def save(self, storage: Storage) -> dict[str, str]:
        """Returns the SHA-256 of every file that this rank wrote, by its path in the folder."""
        with storage.workspace() as folder:  # of its own, so that it knows which files are its own
            self.engine.save(folder)
            policy = self.policy.state(wanted=self.rank == 0)
            if self.rank == 0:
                save_file(self.policy.published(policy), folder / POLICY)
                if self.reference is not None:
                    save_file(self.reference.state(), folder / REFERENCE)
            return storage.take_in(folder)

    def load(self, storage: Storage) -> None:
        with storage.here() as folder:
            if ranks_of(folder, self.config.zero_stage) in (None, self.world):
                self.engine.load(folder)
            else:
                self._load_resharded(folder, storage.child("resharded"))
            if (folder / REFERENCE).is_file():
                self._set_reference(load_file(folder / REFERENCE))

    def _load_resharded(self, folder: Path, place: Storage) -> None:
        """From a commit of another number of ranks; `place`, which all reach, holds it meanwhile in a form that any number reads."""
        fault: Exception | None = None
        if self.rank == 0:
            try:
                place.clear()
                with place.workspace() as workspace:
                    to_universal(folder, workspace)
                    place.take_in(workspace)
            except Exception as error:  # noqa: BLE001 - the other ranks must not wait for it
                fault = error
        if self._max(float(fault is not None)):
            raise fault or RuntimeError("rank 0 could not convert the commit")
        with place.here() as universal:
            self.engine.load(universal, universal=True)
        self._max(0.0)  # all have read it
        if self.rank == 0:
            place.remove()

    def export(self, folder: str) -> None:
        state = self.policy.state(wanted=self.rank == 0)
        if self.rank == 0:
            self.policy.model.save_pretrained(folder, state_dict=state)
            self.encoder.processor.save_pretrained(folder)


def not_finite(batch: MicroBatch, values: torch.Tensor) -> set[int]:
    """The samples of a batch that have such a number among their tokens."""
    if torch.isfinite(values.detach().sum()):
        return set()
    return {
        i for i, own in zip(batch.index, values.detach().split(batch.lengths), strict=True) if not own.isfinite().all()
    }


def probe_text(task: Task) -> str:
    """A response to probe with; what it says does not matter, only that both sides read the same."""
    return task.reference or f"<think>{task.question}</think><answer>{', '.join(task.gold)}</answer>"


class UpdateBatch:
    """The groups of one update, as this rank sees them.

    Args:
        scored: the step's groups.
        chosen: those of this update, by their places.
    """

    def __init__(
        self, scored: Sequence[ScoredGroup], chosen: Sequence[int], rank: int, world: int, training: GrpoTraining
    ) -> None:
        everyone = {(g, r): t for g in chosen for r, t in enumerate(scored[g].group.trajectories)}
        lengths = [len(t.ids) for t in everyone.values()]
        kept = [not (training.truncated == "mask" and t.truncated) for t in everyone.values()]
        weights = dict(
            zip(everyone, response_weights(lengths, kept, training.aggregation, training.length_scale), strict=True)
        )
        self.all_tokens = sum(lengths)
        self.all_kept = sum(n for n, keep in zip(lengths, kept, strict=True) if keep)
        self.places: list[tuple[int, int]] = []  # of the samples: group of the step, response of the group
        self.samples: list[Sample] = []
        self.advantages: list[np.ndarray] = []
        self.rollout: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        self.old: list[np.ndarray] | None = None
        self.reference: list[np.ndarray] | None = None
        self.differences: list[torch.Tensor] = []
        costs = [
            packed_tokens(len(s.group.prompt_ids), [len(t.ids) for t in s.group.trajectories])
            for s in (scored[g] for g in chosen)
        ]
        mine = [chosen[i] for i in share_out(costs, world)[rank]]
        for g in mine or chosen[:1]:  # fewer groups than ranks: one that counts for nothing here
            group = scored[g].group
            for r, trajectory in enumerate(group.trajectories):
                self.places.append((g, r))
                self.samples.append(Sample(group.prompt_ids, group.task.images, trajectory.ids))
                self.rollout.append(trajectory.logprobs)
                self.weights.append(np.full(len(trajectory.ids), weights[g, r] if mine else 0, np.float32))
