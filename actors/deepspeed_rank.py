"""What one learner rank does: DeepSpeed around the policy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed

from curriculum.task import Task

from .encode import Encoder
from .learner import GrpoTraining, LearnerConfig
from .loss import clipped_policy_loss, k3
from .policy import MicroBatch, Policy, Sample
from .trajectory import ScoredGroup
from .waiting import wait_for
from .weights import pack


class DeepSpeedRank:
    def __init__(self, setup: dict[str, Any], rank: int, world: int) -> None:
        import deepspeed

        self.config: LearnerConfig = setup["config"]
        self.rank, self.world, self.store = rank, world, setup["store"]
        self.device = torch.device("cuda" if self.config.gpus else "cpu")
        torch.manual_seed(setup["seed"])
        torch.set_num_threads(self.config.threads)
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
            self._build_engine()
        if not reference:
            self.reference = None
        elif self.reference is None or not keep_reference:
            self.reference = copy.deepcopy(self.policy).requires_grad_(False).eval()

    # -- training -------------------------------------------------------------------------------------------------

    def sft(self, tasks: Sequence[Task], lr: float) -> dict[str, float]:
        """One update on the references of `tasks`; the loss is the mean over all response tokens of all ranks."""
        samples = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(t.reference)) for t in tasks]
        tokens = sum(len(s.response_ids) for s in samples)
        mine = samples[self.rank :: self.world]
        total = 0.0
        for batch, last in self._batches(mine):
            logp, _ = self.engine(batch, 1.0)
            loss = -logp.sum() / tokens
            self._backward(loss, last)
            total += loss.item()
        return {"loss": self._sum(total), "grad_norm": self._step(lr), "lr": lr, "tokens": tokens}

    def grpo(self, groups: Any, training: GrpoTraining, lr: float, temperature: float) -> dict[str, float]:
        """`updates_per_step` updates on scored groups; each one's loss is the mean over its response tokens, all ranks'."""
        scored: list[ScoredGroup] = groups if isinstance(groups, list) else wait_for(groups, 60, "the batch's owner")
        chunks = [scored[i :: training.updates_per_step] for i in range(training.updates_per_step)]
        parts = [_Part(chunk, self.rank, self.world, training.truncated == "mask") for chunk in chunks]
        log: dict[str, list[float]] = {}
        if len(parts) > 1:  # every update but the first is off its own policy: remember what the policy was
            for part in parts[1:]:
                part.old = self._logprobs(self.policy, part.samples, temperature)
        for number, part in enumerate(parts):
            if self.reference is not None:
                part.reference = self._logprobs(self.reference, part.samples, temperature)
            values = self._update(part, training, lr, temperature, number == 0)
            for name, value in values.items():
                log.setdefault(name, []).append(value)
        result = {name: float(np.mean(values)) for name, values in log.items()}
        differences = torch.cat([torch.cat(part.differences) for part in parts if part.differences] or [torch.zeros(1)])
        result["logp_diff_max"] = self._max(differences.max().item())
        result["logp_diff_mean"] = self._sum(differences.sum().item()) / self._sum(len(differences))
        result["ratio_diff_max"] = self._max(torch.expm1(differences).max().item())
        result["tokens"] = sum(part.all_tokens for part in parts)
        return result | {"lr": lr}

    def _update(self, part: "_Part", training: GrpoTraining, lr: float, temperature: float, on_policy: bool) -> dict[str, float]:
        sums = dict.fromkeys(("loss", "kl", "entropy", "clipped"), 0.0)
        for batch, last in self._batches(part.samples):
            logp, entropy = self.engine(batch, temperature)
            flat = lambda values: torch.as_tensor(  # noqa: E731
                np.concatenate([values[i] for i in batch.index]), device=self.device)
            old = flat(part.old) if part.old else logp.detach()
            if on_policy or part.old:
                part.differences.append((old - flat(part.rollout)).abs().cpu())
            mask, advantages = flat(part.masks), flat(part.advantages)
            loss, clipped = clipped_policy_loss(logp, old, advantages, training.clip_low, training.clip_high,
                                                training.dual_clip)
            if part.reference:
                kl = k3(logp, flat(part.reference))
                loss = loss + training.kl * kl
                sums["kl"] += (kl.detach() * mask).sum().item()
            loss = (loss * mask).sum() / max(part.all_kept, 1)
            self._backward(loss, last)
            sums["loss"] += loss.item() * part.all_kept
            sums["entropy"] += (entropy * mask).sum().item()
            sums["clipped"] += (clipped * mask).sum().item()
        values = {name: self._sum(value) / max(part.all_kept, 1) for name, value in sums.items()}
        return values | {"grad_norm": self._step(lr)}

    def _batches(self, samples: Sequence[Sample]) -> list[tuple[MicroBatch, bool]]:
        batches = list(self.policy.micro_batches(samples, self.config.micro_batch_tokens, self.device))
        return [(batch, i == len(batches) - 1) for i, batch in enumerate(batches)]

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
        for batch, _ in self._batches(samples):
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

    def _state(self) -> dict[str, torch.Tensor]:
        import deepspeed

        parameters = [p for p in self.policy.model.parameters() if hasattr(p, "ds_id")]
        with deepspeed.zero.GatheredParameters(parameters, enabled=bool(parameters)):
            return {name: p.detach().cpu().contiguous() for name, p in self.policy.model.state_dict().items()}

    def publish(self, version: int, probe: Sequence[Task]) -> None:
        samples = [Sample(self.encoder.expand(t), t.images, self.encoder.response_ids(probe_text(t))) for t in probe]
        values = self._logprobs(self.policy, samples, 1.0, raw=True)
        state = self._state()
        if self.rank == 0:
            wait_for(self.store.publish.remote(version, pack(state), list(zip(samples, values, strict=True))),
                     self.config.timeout_s, "the weight store")

    def save(self, folder: str) -> None:
        self.engine.save_checkpoint(folder, tag="learner", exclude_frozen_parameters=False)

    def load(self, folder: str) -> None:
        path, _ = self.engine.load_checkpoint(folder, tag="learner")
        if path is None:
            raise FileNotFoundError(f"no learner checkpoint in {folder}")

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

    def __init__(self, groups: Sequence[ScoredGroup], rank: int, world: int, mask_truncated: bool) -> None:
        def kept(scored: ScoredGroup) -> list[bool]:
            return [not (mask_truncated and t.truncated) for t in scored.group.trajectories]

        self.all_tokens = sum(len(t.ids) for s in groups for t in s.group.trajectories)
        self.all_kept = sum(len(t.ids) for s in groups for t, k in zip(s.group.trajectories, kept(s), strict=True) if k)
        self.samples: list[Sample] = []
        self.advantages: list[np.ndarray] = []
        self.rollout: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.old: list[np.ndarray] | None = None
        self.reference: list[np.ndarray] | None = None
        self.differences: list[torch.Tensor] = []
        for scored in groups[rank::world]:
            group = scored.group
            for trajectory, advantage, keep in zip(group.trajectories, scored.advantages, kept(scored), strict=True):
                self.samples.append(Sample(group.prompt_ids, group.task.images, trajectory.ids))
                self.advantages.append(advantage)
                self.rollout.append(trajectory.logprobs)
                self.masks.append(np.full(len(trajectory.ids), float(keep), np.float32))
