"""A step of reinforcement learning on one rank: advantages, the old policy, reference and teachers, and updates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed

from actors.algorithm.advantage import batch_advantages
from actors.algorithm.config import GrpoTraining
from actors.algorithm.loss import Tokens, kl_estimate, objective, response_weights
from actors.algorithm.teacher import teacher_of
from actors.learner.orders import UpdateResult
from actors.model.packing import packed_tokens, share_out
from actors.model.policy import MicroBatch
from actors.trajectory import Sample, ScoredGroup

if TYPE_CHECKING:
    from actors.learner.rank import DeepSpeedRank

Place = tuple[int, int]
"""A response: group of the step, response of the group."""


class UpdateBatch:
    """The groups of one update, as this rank sees them.

    Args:
        scored: the step's groups.
        chosen: those of this update, by their places in `scored`.

    Attributes:
        all_tokens: response tokens of the update, on all ranks.
        all_kept: the same without truncated responses that are masked.
        all_taught: of `all_kept`, those of each family that has a teacher.
        samples: this rank's. `places`, `families`, `advantages`, `rollout`, `weights`, `policy_weights`, `old`,
            `reference`, `teacher` and `teacher_weights` have an entry for each, from `advantages` on an array
            [tokens]; `old`, `reference` and `teacher` are None if they are not needed, and `set_advantages` makes
            `advantages` and `policy_weights`.
        differences: |log-probability of the learner − of the rollout| [tokens], an entry for each micro-batch.
    """

    def __init__(
        self, scored: Sequence[ScoredGroup], chosen: Sequence[int], rank: int, world: int, training: GrpoTraining
    ) -> None:
        self.training = training
        self._take_in(scored, chosen)
        weights = self._weights(self._kept)
        self.places: list[Place] = []
        self.families: list[str] = []
        self.samples: list[Sample] = []
        self.advantages: list[np.ndarray] = []
        self.rollout: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        self.policy_weights: list[np.ndarray] = []
        self.old: list[np.ndarray] | None = None
        self.reference: list[np.ndarray] | None = None
        self.teacher: list[np.ndarray] | None = None
        self.teacher_weights: list[np.ndarray] = []
        self.differences: list[torch.Tensor] = []
        costs = []
        for g in chosen:
            group = scored[g].group
            costs.append(packed_tokens(len(group.prompt_ids), [len(t.ids) for t in group.trajectories]))
        share = [chosen[i] for i in share_out(costs, world)[rank]]
        # With fewer groups than ranks, a rank without any takes the first one, with weight 0.
        for g in share or chosen[:1]:
            group = scored[g].group
            teacher = teacher_of(group.task.family, training.teacher)
            for r, trajectory in enumerate(group.trajectories):
                weight = weights[g, r] if share else 0
                self.places.append((g, r))
                self.families.append(group.task.family)
                self.teacher_weights.append(np.full(len(trajectory.ids), teacher.weight if teacher else 0, np.float32))
                self.samples.append(Sample(group.prompt_ids, group.task.images, trajectory.ids))
                self.rollout.append(trajectory.logprobs)
                self.weights.append(np.full(len(trajectory.ids), weight, np.float32))

    def set_advantages(self, advantages: Sequence[Sequence[np.ndarray]]) -> None:
        """Takes the advantages of all groups of the step, for each response an array [tokens].

        Groups without any advantage, from rewards or a teacher, do not count for the policy loss, unless the recipe
        wants them to. The divisor of `sequence_sum` is a constant by design, so it counts them.
        """
        self.advantages = [advantages[group][response] for group, response in self.places]
        self.policy_weights = self.weights
        if self.training.count_flat_groups or self.training.aggregation == "sequence_sum":
            return
        rewarded = self.training.reward_weight != 0
        teaches = {
            group: group in self._taught or (rewarded and any(a.any() for a in advantages[group]))
            for group in {group for group, _ in self._all_places}
        }
        weights = self._weights(
            [keep and teaches[group] for keep, (group, _) in zip(self._kept, self._all_places, strict=True)]
        )
        self.policy_weights = [
            np.where(own > 0, np.float32(weights[place]), np.float32(0))
            for place, own in zip(self.places, self.weights, strict=True)
        ]

    def _take_in(self, scored: Sequence[ScoredGroup], chosen: Sequence[int]) -> None:
        """Notes all responses of the update, on whatever rank they are, and counts its tokens."""
        self._all_places: list[Place] = []
        self._lengths: list[int] = []
        self._kept: list[bool] = []
        self._taught: set[int] = set()  # groups that a teacher's judgement teaches
        self.all_taught: dict[str, int] = {}
        for g in chosen:
            family = scored[g].group.task.family
            teacher = teacher_of(family, self.training.teacher)
            if teacher and teacher.weight:
                self._taught.add(g)
            for r, trajectory in enumerate(scored[g].group.trajectories):
                self._all_places.append((g, r))
                self._lengths.append(len(trajectory.ids))
                self._kept.append(not (self.training.truncated == "mask" and trajectory.truncated))
                if teacher and self._kept[-1]:
                    self.all_taught[family] = self.all_taught.get(family, 0) + self._lengths[-1]
        self.all_tokens = sum(self._lengths)
        self.all_kept = sum(n for n, keep in zip(self._lengths, self._kept, strict=True) if keep)

    def _weights(self, kept: Sequence[bool]) -> dict[Place, float]:
        """What a token of each response weighs if so many of the update's responses are kept."""
        training = self.training
        weights = response_weights(self._lengths, kept, training.aggregation, training.length_scale)
        return dict(zip(self._all_places, weights, strict=True))

    def teaches(self, i: int) -> bool:
        """Whether a token of a sample has an advantage, by the rewards or possibly by a teacher."""
        advantages = (self.advantages[i], self.teacher_weights[i])
        return any(bool((advantage * self.weights[i]).any()) for advantage in advantages)


@dataclass
class _Sums:
    """What an update adds up over its micro-batches: metrics, and the samples whose loss was not finite."""

    metrics: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("loss", "kl", "entropy", "clipped", "correction"), 0.0)
    )
    teacher_kl: dict[str, float] = field(default_factory=dict)  # by family
    suspects: set[int] = field(default_factory=set)


class GrpoStep:
    """The updates of one step of reinforcement learning on one rank; arguments as in `GrpoUpdate`."""

    def __init__(
        self,
        rank: DeepSpeedRank,
        groups: Sequence[ScoredGroup],
        training: GrpoTraining,
        lr: float,
        temperature: float,
    ) -> None:
        self.rank = rank
        self.scored = list(groups)
        self.training, self.lr, self.temperature = training, lr, temperature
        self.kl_in_reward = self.training.kl > 0 and self.training.kl_in == "reward"
        self.non_finite_samples: list[dict[str, Any]] = []
        updates = self.training.updates_per_step
        self.batches = [
            UpdateBatch(self.scored, range(i, len(self.scored), updates), rank.rank, rank.world, self.training)
            for i in range(updates)
        ]

    def run(self) -> UpdateResult:
        for number, batch in enumerate(self.batches):
            # Later updates are off their own policy, so what the policy was is computed before the first.
            if number or self.kl_in_reward:
                batch.old = self.rank.logprobs(self.rank.policy, batch.samples, self.temperature)
            if self.kl_in_reward:
                batch.reference = self.rank.reference_logprobs(batch.samples, self.temperature)
        self._ask_teachers()
        advantages = self._advantages()
        values_of: dict[str, list[float]] = {}
        for batch in self.batches:
            batch.set_advantages(advantages)
            if self.training.reward_weight != 1:
                batch.advantages = [np.float32(self.training.reward_weight) * own for own in batch.advantages]
            if self.rank.reference is not None and not self.kl_in_reward:
                batch.reference = self.rank.reference_logprobs(batch.samples, self.temperature)
            for name, value in self._update(batch).items():
                values_of.setdefault(name, []).append(value)
        numbers = {name: float(np.mean(values)) for name, values in values_of.items()}
        numbers["skipped"] = sum(values_of["skipped"])
        numbers |= self._distance_from_rollout()
        numbers["tokens"] = sum(batch.all_tokens for batch in self.batches)
        numbers["lr"] = self.lr
        return UpdateResult(numbers, self.non_finite_samples)

    def _ask_teachers(self) -> None:
        """Has each teacher score the responses of its families."""
        teachers = self.training.teacher
        for teacher in teachers:
            with self.rank.frozen[teacher.folder].loaded() as policy:
                for batch in self.batches:
                    own = [i for i, name in enumerate(batch.families) if teacher_of(name, teachers) is teacher]
                    scores = self.rank.logprobs(policy, batch.samples, self.temperature, chosen=own)
                    if batch.teacher is None:
                        batch.teacher = scores  # zeros for samples of other teachers
                    for i in own:
                        batch.teacher[i] = scores[i]

    def _advantages(self) -> Sequence[Sequence[np.ndarray]]:
        return batch_advantages(
            [s.verdicts for s in self.scored],
            [[t.char_ends for t in s.group.trajectories] for s in self.scored],
            self.training.credit,
            self.training.process_weight,
            self.training.baseline,
            self.training.normalise,
            self._penalties() if self.kl_in_reward else None,
        )

    def _penalties(self) -> list[list[np.ndarray]]:
        """What KL takes off the reward at each token: for each group, float64 [tokens] for each response, from all
        ranks.
        """
        own: dict[Place, np.ndarray] = {}
        for batch in self.batches:
            assert batch.old is not None and batch.reference is not None
            for place, old, reference in zip(batch.places, batch.old, batch.reference, strict=True):
                policy, other = torch.from_numpy(old).double(), torch.from_numpy(reference).double()
                estimate = kl_estimate(policy, other, self.training.kl_estimator)
                own[place] = self.training.kl * estimate.numpy()
        of_ranks = [own] * self.rank.world
        if self.rank.world > 1:
            torch.distributed.all_gather_object(of_ranks, own)
        penalties: dict[Place, np.ndarray] = {}
        for part in of_ranks:
            penalties |= part
        responses = [range(len(scored.verdicts)) for scored in self.scored]
        return [[penalties[group, response] for response in responses[group]] for group in range(len(responses))]

    def _distance_from_rollout(self) -> dict[str, float]:
        """How far the learner's log-probabilities are from those that the engines sampled by, over all updates and
        ranks.
        """
        parts = [torch.cat(batch.differences) for batch in self.batches if batch.differences]
        differences = torch.cat(parts or [torch.zeros(1)])
        return {
            "logp_diff_max": self.rank.max(differences.max().item()),
            "logp_diff_mean": self.rank.sum(differences.sum().item()) / self.rank.sum(len(differences)),
            "ratio_diff_max": self.rank.max(torch.expm1(differences).max().item()),
        }

    # -- one update -----------------------------------------------------------------------------------------------

    def _update(self, batch: UpdateBatch) -> dict[str, float]:
        """One optimiser step on a part of the step's groups.

        If no term of the loss is on all tokens (KL, entropy), responses without any advantage have no gradient: they
        get a forward without a backward.
        """
        rank, training, sums = self.rank, self.training, _Sums()
        on_all_tokens = training.entropy > 0 or (training.kl > 0 and training.kl_in == "loss")
        everyone = range(len(batch.samples))
        teaching = [i for i in everyone if on_all_tokens or batch.teaches(i)]
        teaching = teaching or [0]  # every rank takes part in the step
        silent = sorted(set(everyone) - set(teaching))
        with torch.no_grad():
            for micro, _, weight in rank.batches(batch.samples, silent):
                logp, entropy = rank.policy(micro, self.temperature)
                self._loss(batch, micro, weight, logp, entropy, sums)
        for micro, last, weight in rank.batches(batch.samples, teaching):
            logp, entropy = rank.engine(micro, self.temperature)
            rank.engine.backward(self._loss(batch, micro, weight, logp, entropy, sums), last)
        metrics = {name: rank.sum(value) for name, value in sums.metrics.items()}
        values, non_finite = rank.step(
            self.lr,
            metrics | self._teacher_numbers(batch, sums),
            batch.samples,
            sums.suspects,
            advantages=batch.advantages,
            weights=batch.weights,
            rollout_logprobs=batch.rollout,
        )
        self.non_finite_samples += non_finite
        if values["skipped"]:
            batch.differences.clear()
        return values

    def _loss(
        self,
        batch: UpdateBatch,
        micro: MicroBatch,
        weight: float,
        logp: torch.Tensor,
        entropy: torch.Tensor,
        sums: _Sums,
    ) -> torch.Tensor:
        """The loss of a micro-batch, times `weight`; one with weight 0 repeats another, and counts for no metric."""
        tokens = Tokens(
            self._flat(batch.old, micro.index) if batch.old else logp.detach(),
            self._flat(batch.rollout, micro.index),
            self._flat(batch.advantages, micro.index),
            self._flat(batch.weights, micro.index),
            self._flat(batch.policy_weights, micro.index),
            self._flat(batch.reference, micro.index) if batch.reference else None,
            self._flat(batch.teacher, micro.index) if batch.teacher else None,
            self._flat(batch.teacher_weights, micro.index) if batch.teacher else None,
        )
        loss, terms = objective(logp, entropy, tokens, micro.lengths, self.training)
        sums.suspects.update(self.rank.non_finite(micro, terms.pop("loss")))
        if weight:
            batch.differences.append((tokens.old - tokens.rollout).abs().cpu())
            self._add(sums.metrics, terms | {"entropy": entropy.detach()}, tokens.weights > 0, batch.all_kept)
            sums.metrics["loss"] += loss.item()
            if tokens.teacher is not None:
                self._add_teacher_kl(batch, micro, kl_estimate(tokens.old, tokens.teacher, "k3"), sums)
        return weight * loss

    @staticmethod
    def _add_teacher_kl(batch: UpdateBatch, micro: MicroBatch, divergence: torch.Tensor, sums: _Sums) -> None:
        """Adds the divergence [tokens] from their teacher of those samples that have one, by family."""
        for i, own in zip(micro.index, divergence.split(micro.lengths), strict=True):
            family = batch.families[i]
            if family in batch.all_taught and batch.weights[i].any():
                sums.teacher_kl[family] = sums.teacher_kl.get(family, 0.0) + own.sum().item()

    def _teacher_numbers(self, batch: UpdateBatch, sums: _Sums) -> dict[str, float]:
        """The mean divergence from the teacher over the taught tokens of all ranks, of each family and altogether."""
        if not batch.all_taught:
            return {}
        totals = {name: self.rank.sum(sums.teacher_kl.get(name, 0.0)) for name in batch.all_taught}
        numbers = {f"teacher_kl_{name}": total / max(batch.all_taught[name], 1) for name, total in totals.items()}
        numbers["teacher_kl"] = sum(totals.values()) / max(sum(batch.all_taught.values()), 1)
        return numbers

    @staticmethod
    def _add(metrics: dict[str, float], terms: Mapping[str, torch.Tensor], kept: torch.Tensor, count: int) -> None:
        """Adds to each metric its mean over the `count` tokens that are kept in the whole update."""
        for name, values in terms.items():
            metrics[name] += values[kept].sum().item() / max(count, 1)

    def _flat(self, arrays: Sequence[np.ndarray], index: Iterable[int]) -> torch.Tensor:
        return torch.as_tensor(np.concatenate([arrays[i] for i in index]), device=self.rank.device)
