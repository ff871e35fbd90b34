"""The gradient of a step is the same however the learner is laid out: ranks, ZeRO stage, packing, micro-batch size."""

import socket
import sys

import numpy as np
import pytest
import ray
import torch
from test_policy import log_softmax, logits_of
from transformers import AutoModelForImageTextToText

from actors.deepspeed_rank import DeepSpeedRank
from actors.encode import Encoder, PromptConfig
from actors.policy import FORBIDDEN_BIAS, Policy
from actors.training import GrpoTraining, LearnerConfig
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from actors.waiting import wait_for
from rewards.verdict import Verdict

TRAINING = GrpoTraining(credit="response", process_weight=0)


class Watched(DeepSpeedRank):
    """A rank that can be laid out anew, and keeps the gradient that it would step along."""

    def gradient(self, groups, zero_stage, micro_batch_tokens, packed):
        """The gradient of each parameter of the policy by its name, whole, before clipping; the step's row."""
        from deepspeed.utils import safe_get_full_grad

        self.config = self.config.model_copy(update=dict(zero_stage=zero_stage, micro_batch_tokens=micro_batch_tokens))
        self.policy = Policy(self.setup["model"], self.encoder, torch.float32, packed=packed)
        self._build_engine()
        kept = {}
        step = self.engine.step

        def watched():
            if self.engine.is_gradient_accumulation_boundary():
                kept.update({n: safe_get_full_grad(p).numpy().copy() for n, p in self.policy.model.named_parameters()})
            step()

        self.engine.step = watched
        row = self.grpo(groups, TRAINING, 1e-3, 1.0)
        self.engine.destroy()
        return kept, row


@pytest.fixture(scope="module")
def ranks(ray_session, tiny_model):
    """Ranks by how many there are: one alone, and two together."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # which workers cannot import
    groups = {}
    for world in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        setup = dict(config=LearnerConfig(threads=1), model=str(tiny_model), prompt=PromptConfig(), store=None, seed=0)
        groups[world] = [ray.remote(Watched).options(num_cpus=0.25, runtime_env={"env_vars": {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port}}).remote(setup, rank, world) for rank in range(world)]
    yield groups
    for rank in sum(groups.values(), []):
        ray.kill(rank)


@pytest.fixture(scope="module")
def batches(tiny_model, phantom_tasks):
    """Groups of responses of very different lengths, to questions on films, without films, and both."""
    encoder = Encoder(tiny_model, PromptConfig())
    rng = np.random.default_rng(0)

    def group(number, task, films):
        prompt = encoder.expand(task)
        if not films:
            task, prompt = task.model_copy(update={"images": ()}), np.setdiff1d(prompt, encoder.forbidden(512)).astype(np.int32)
        trajectories = tuple(Trajectory("", ids, np.zeros(len(ids), np.float32), np.zeros_like(ids), np.arange(len(ids)) + 1,
                                        "stop", 0) for ids in (rng.integers(60, 400, n).astype(np.int32) for n in rng.integers(1, 90, 3)))
        rewards = rng.random(3)
        return ScoredGroup(Group(str(number), task, prompt, trajectories),
                           tuple(Verdict(r, r, 1.0, r, 0.0, 0.0, None, ()) for r in rewards))

    tasks = phantom_tasks[::5]
    films, text = ([group(n, tasks[n], films) for n in range(3)] for films in (True, False))
    return {"films": films, "text": text, "both": [films[0], text[1]]}


@pytest.fixture(scope="module")
def plain(tiny_model, batches):
    """The gradients by plain autograd, response by response: the ratio is one, so that a token's loss is −A log p."""
    encoder, gradients = Encoder(tiny_model, PromptConfig()), {}
    for name, groups in batches.items():
        model = AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=torch.float32)
        bias = torch.zeros(model.lm_head.weight.shape[0], dtype=torch.float64)
        bias[encoder.forbidden(len(bias))] = FORBIDDEN_BIAS
        tokens = sum(len(t.ids) for g in groups for t in g.group.trajectories)
        for scored in groups:
            rewards = np.array([v.total for v in scored.verdicts])
            for t, advantage in zip(scored.group.trajectories, (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)):
                sample = Sample(scored.group.prompt_ids, scored.group.task.images, t.ids)
                (logits,) = logits_of(model, encoder, [sample])
                logp = log_softmax(logits, bias, 1.0)[range(len(t.ids)), t.ids]
                (-advantage / tokens * logp.sum()).backward()
        gradients[name] = {n: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy() for n, p in model.named_parameters()}
    return gradients


@pytest.mark.parametrize("world, zero_stage, micro_batch_tokens, packed, batch", [
    (1, 0, 1, True, "films"), (1, 0, 250, True, "both"), (1, 0, 8192, True, "films"), (1, 0, 400, False, "films"),
    (1, 2, 400, True, "films"), (1, 3, 400, True, "text"), (2, 0, 300, True, "films"), (2, 2, 1, True, "both"),
    (2, 2, 8192, True, "text"), (2, 3, 250, True, "films"), (2, 3, 8192, True, "both"), (2, 3, 300, False, "both")])
def test_the_gradient_is_the_plain_one(ranks, batches, plain, world, zero_stage, micro_batch_tokens, packed, batch):
    answers = wait_for([rank.gradient.remote(batches[batch], zero_stage, micro_batch_tokens, packed) for rank in ranks[world]],
                       120, "the ranks")
    ours, row = answers[0]
    whole = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in plain[batch].values()))
    assert set(ours) == set(plain[batch])
    for name, wanted in plain[batch].items():
        assert np.linalg.norm(ours[name] - wanted) <= 1e-5 * np.linalg.norm(wanted) + 1e-7 * whole, name
    assert row["grad_norm"] == pytest.approx(whole, rel=1e-5)
