"""What one learner rank does: DeepSpeed around the policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from safetensors.torch import load_file, save_file

from curriculum.task import Task

from .advantage import token_advantages
from .encode import Encoder
from .loss import clipped_policy_loss, k3, off_policy_weights
from .packing import packed_tokens, share_out
from .policy import MicroBatch, Policy
from .storage import POLICY, Storage
from .title import set_title
from .training import GrpoTraining, LearnerConfig
from .trajectory import Sample, ScoredGroup
from .waiting import wait_for
from .weights import Version, bucket_of, cut, send

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
        self.reference: Policy | None = None
        self._build_engine()

    def _build_engine(self) -> None:
        import deepspeed

        decayed = [p for p in self.policy.parameters() if p.ndim >= 2]
        plain = [p for p in self.policy.parameters() if p.ndim < 2]
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=1e-6, betas=self.config.betas)
        self.engine, self.optimizer, *_ = deepspeed.initialize(model=self.policy, optimizer=optimizer, config={
            "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1,
            "gradient_clipping": self.config.clip_grad, "bf16": {"enabled": self.config.dtype == "bfloat16"},
            "zero_optimization": {"stage": self.config.zero_stage}, "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False, "steps_per_print": 10**9})

    def hello(self) -> None:
        """Nothing; that the rank could be built is the answer."""

    def start_stage(self, fresh_optimiser: bool, reference: bool, keep_reference: bool) -> None:
        if fresh_optimiser:
            # ZeRO wraps the optimiser; AdamW makes its moments anew at the next step.
            getattr(self.optimizer, "optimizer", self.optimizer).state.clear()
        if not reference:
            self.reference = None
        elif self.reference is None or not keep_reference:
            self._set_reference(self._state())

    def _set_reference(self, state: dict[str, torch.Tensor]) -> None:
        """The reference is a whole copy on every rank, also where ZeRO shards the policy."""
        self.reference = Policy(self.setup["model"], self.encoder, getattr(torch, self.config.dtype))
        self.reference.model.load_state_dict(state)
        self.reference.to(self.device).requires_grad_(False).eval()

    # -- training -------------------------------------------------------------------------------------------------

    def sft(self, tasks: Sequence[Task], lr: float) -> dict[str, float]:
        """One update on the references of `tasks`; the loss is the mean over all response tokens of all ranks."""
        shares = share_out([len(t.question) + len(t.reference) for t in tasks], self.world)  # other ranks' films stay unread
        mine = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(t.reference))
                for t in (tasks[i] for i in shares[self.rank] or [0])]
        chosen = range(len(shares[self.rank]))  # where there are fewer tasks than ranks: nothing
        tokens = int(self._sum(sum(len(mine[i].response_ids) for i in chosen)))
        total = 0.0
        for batch, last, weight in self._batches(mine, chosen):
            logp, _ = self.engine(batch, 1.0)
            loss = -weight * logp.sum() / tokens
            self._backward(loss, last)
            total += loss.item()
        return {"loss": self._sum(total), "grad_norm": self._step(lr), "lr": lr, "tokens": tokens}

    def grpo(self, groups: Any, training: GrpoTraining, lr: float, temperature: float) -> dict[str, float]:
        """`updates_per_step` updates on scored groups; each one's loss is the mean over its response tokens, all ranks'."""
        scored: list[ScoredGroup] = groups if isinstance(groups, list) else wait_for(groups, 60, "the batch's owner")
        chunks = [scored[i :: training.updates_per_step] for i in range(training.updates_per_step)]
        parts = [_Part(chunk, self.rank, self.world, training) for chunk in chunks]
        log: dict[str, list[float]] = {}
        for part in parts[1:]:  # every update but the first is off its own policy: remember what the policy was
            part.old = self._logprobs(self.policy, part.samples, temperature)
        for part in parts:
            if self.reference is not None:
                part.reference = self._logprobs(self.reference, part.samples, temperature)
            values = self._update(part, training, lr, temperature)
            for name, value in values.items():
                log.setdefault(name, []).append(value)
        result = {name: float(np.mean(values)) for name, values in log.items()}
        differences = torch.cat([torch.cat(part.differences) for part in parts if part.differences] or [torch.zeros(1)])
        result["logp_diff_max"] = self._max(differences.max().item())
        result["logp_diff_mean"] = self._sum(differences.sum().item()) / self._sum(len(differences))
        result["ratio_diff_max"] = self._max(torch.expm1(differences).max().item())
        result["tokens"] = sum(part.all_tokens for part in parts)
        return result | {"lr": lr}

    def _update(self, part: "_Part", training: GrpoTraining, lr: float, temperature: float) -> dict[str, float]:
        """One optimiser step on a part of the batch.

        Where there is no KL term, responses without any advantage have no gradient: they are read without a backward,
        and still count in the mean.
        """
        sums = dict.fromkeys(("loss", "kl", "entropy", "clipped", "correction"), 0.0)

        def read(batch: MicroBatch, weight: float, logp: torch.Tensor, entropy: torch.Tensor) -> torch.Tensor:
            flat = lambda values: torch.as_tensor(  # noqa: E731
                np.concatenate([values[i] for i in batch.index]), device=self.device)
            old = flat(part.old) if part.old else logp.detach()
            mask, advantages, rollout = flat(part.masks), flat(part.advantages), flat(part.rollout)
            loss, clipped = clipped_policy_loss(logp, old, advantages, training.clip_low, training.clip_high,
                                                training.dual_clip)
            corrected = off_policy_weights(old, rollout, batch.lengths, training.correction, training.correction_cap)
            kl = k3(logp, flat(part.reference)) if part.reference else torch.zeros_like(logp)
            loss = ((loss * corrected + training.kl * kl) * mask).sum()
            if weight:
                part.differences.append((old - rollout).abs().cpu())
                for name, values in (("kl", kl), ("entropy", entropy), ("clipped", clipped), ("correction", corrected)):
                    sums[name] += (values.detach() * mask).sum().item()
                sums["loss"] += loss.item()
            return weight * loss / max(part.all_kept, 1)

        teaching = [i for i in range(len(part.samples)) if part.reference or (part.advantages[i] * part.masks[i]).any()]
        teaching = teaching or [0]  # every rank takes part in the step
        with torch.no_grad():
            silent = sorted(set(range(len(part.samples))) - set(teaching))
            for batch, _, weight in self._batches(part.samples, silent):
                read(batch, weight, *self.policy(batch, temperature))
        for batch, last, weight in self._batches(part.samples, teaching):
            self._backward(read(batch, weight, *self.engine(batch, temperature)), last)
        values = {name: self._sum(value) / max(part.all_kept, 1) for name, value in sums.items()}
        return values | {"grad_norm": self._step(lr)}

    def _batches(self, samples: Sequence[Sample], chosen: Sequence[int] | None = None) -> Iterator[tuple[MicroBatch, bool, float]]:
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
            yield self.policy.collate(samples, index, self.device), number == count - 1, float(number < len(cuts) and bool(chosen))

    def _backward(self, loss: torch.Tensor, last: bool) -> None:
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.world)  # DeepSpeed averages over ranks; the loss is a share of the global mean
        if not last:
            self.engine.step()

    def _step(self, lr: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.config.zero_stage == 0:  # there DeepSpeed clips, but does not keep the norm
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.policy.parameters() if p.grad is not None])
            self.engine.step()
        else:
            self.engine.step()
            norm = self.engine.get_global_grad_norm()
        return float(norm)

    @torch.no_grad()
    def _logprobs(self, policy: Policy, samples: Sequence[Sample], temperature: float, raw: bool = False) -> list[np.ndarray]:
        """float32 [tokens] for each sample, by a forward without gradient."""
        out: list[np.ndarray] = [np.zeros(0, np.float32)] * len(samples)
        for batch, *_ in self._batches(samples):
            logp, _ = policy(batch, temperature, raw)
            for i, values in zip(batch.index, logp.float().cpu().split(batch.lengths), strict=True):
                out[i] = values.numpy()
        return out

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

    def _parts(self) -> Iterator[dict[str, torch.Tensor]]:
        """The policy's weights by name, whole, a bucket at a time. Every rank takes part; each part lasts until the next."""
        import deepspeed

        named = list(self.policy.model.state_dict(keep_vars=True).items())
        sizes = [value.element_size() * getattr(value, "ds_numel", value.numel()) for _, value in named]
        for places in cut(sizes, self.config.bucket_mib * 2**20):
            part = named[places]
            sharded = [value for _, value in part if hasattr(value, "ds_id")]
            with deepspeed.zero.GatheredParameters(sharded, enabled=bool(sharded)):
                yield {name: value.detach() for name, value in part}

    def _state(self) -> dict[str, torch.Tensor]:
        """All weights on the CPU; where ZeRO shards them, a copy."""
        copied = self.config.zero_stage == 3
        return {name: value.to("cpu", copy=copied).contiguous() for part in self._parts() for name, value in part.items()}

    def publish(self, version: Version, probe: Sequence[Task]) -> None:
        set_title(f"learner-{self.rank} v{version.number}")
        samples = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(probe_text(t))) for t in probe]
        values = self._logprobs(self.policy, samples, 1.0, raw=True)
        for number, part in enumerate(self._parts(), 1):
            if self.rank == 0:
                send(self.store, version, number - 1, bucket_of(part), "learner rank 0", self.config.timeout_s)
        if self.rank == 0:
            wait_for(self.store.publish.remote(version, number, list(zip(samples, values, strict=True))),
                     self.config.timeout_s, "the weight store")

    def save(self, storage: Storage) -> dict[str, str]:
        """Returns the SHA-256 of every file that this rank wrote, by its path in the folder."""
        with storage.workspace() as folder:  # of its own, so that it knows which files are its own
            self.engine.save_checkpoint(str(folder), tag="learner", exclude_frozen_parameters=False)
            policy = self._state()  # every rank takes part
            if self.rank == 0:
                save_file(policy, folder / POLICY)
                if self.reference is not None:
                    save_file(self.reference.model.state_dict(), folder / REFERENCE)
            return storage.take_in(folder)

    def load(self, storage: Storage) -> None:
        with storage.here() as folder:
            path, _ = self.engine.load_checkpoint(str(folder), tag="learner")
            if path is None:
                raise FileNotFoundError(f"no learner checkpoint in {storage}")
            if (folder / REFERENCE).is_file():
                self._set_reference(load_file(folder / REFERENCE))

    def export(self, folder: str) -> None:
        state = self._state()
        if self.rank == 0:
            self.policy.model.save_pretrained(folder, state_dict=state)
            self.encoder.processor.save_pretrained(folder)


def probe_text(task: Task) -> str:
    """A response to probe with; what it says does not matter, only that both sides read the same."""
    return task.reference or f"<think>{task.question}</think><answer>{', '.join(task.gold)}</answer>"


class _Part:
    """The groups of one update, as this rank sees them."""

    def __init__(self, groups: Sequence[ScoredGroup], rank: int, world: int, training: GrpoTraining) -> None:
        def kept(scored: ScoredGroup) -> list[bool]:
            return [not (training.truncated == "mask" and t.truncated) for t in scored.group.trajectories]

        self.all_tokens = sum(len(t.ids) for s in groups for t in s.group.trajectories)
        self.all_kept = sum(len(t.ids) for s in groups for t, k in zip(s.group.trajectories, kept(s), strict=True) if k)
        self.samples: list[Sample] = []
        self.advantages: list[np.ndarray] = []
        self.rollout: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.old: list[np.ndarray] | None = None
        self.reference: list[np.ndarray] | None = None
        self.differences: list[torch.Tensor] = []
        costs = [packed_tokens(len(s.group.prompt_ids), [len(t.ids) for t in s.group.trajectories]) for s in groups]
        mine = share_out(costs, world)[rank]
        for scored in [groups[i] for i in mine] or groups[:1]:  # fewer groups than ranks: one that counts for nothing here
            group = scored.group
            advantages = token_advantages(scored.verdicts, [t.char_ends for t in group.trajectories], training.credit,
                                          training.process_weight)
            for trajectory, advantage, keep in zip(group.trajectories, advantages, kept(scored), strict=True):
                self.samples.append(Sample(group.prompt_ids, group.task.images, trajectory.ids))
                self.advantages.append(advantage)
                self.rollout.append(trajectory.logprobs)
                self.masks.append(np.full(len(trajectory.ids), float(keep and bool(mine)), np.float32))
