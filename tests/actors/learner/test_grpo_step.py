"""The gradient of a step is the same however the learner is laid out: ranks, ZeRO stage, packing, micro-batch size,
checkpointing.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from actors.algorithm.config import GrpoTraining
from actors.learner.grpo_update import GrpoUpdate
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import FORBIDDEN_BIAS
from actors.runtime.remote import wait_for
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from rewards.verdict import Verdict
from tests.support.learner.ranks import ENTIRELY, same
from tests.support.models.plain_model import log_softmax, logits_of

TRAINING = GrpoTraining(credit="response", process_weight=0)


@pytest.fixture(scope="module")
def batches(tiny_model, phantom_tasks):
    """Groups of responses of very different lengths, to questions on films, without films, and both."""
    encoder = Encoder(tiny_model, PromptConfig())
    rng = np.random.default_rng(0)

    def group(number, task, films):
        prompt = encoder.expand(task)
        if not films:
            task, prompt = (
                task.model_copy(update={"images": ()}),
                np.setdiff1d(prompt, encoder.forbidden(512)).astype(np.int32),
            )
        trajectories = tuple(
            Trajectory("", ids, np.zeros(len(ids), np.float32), np.zeros_like(ids), np.arange(len(ids)) + 1, "stop", 0)
            for ids in (rng.integers(60, 400, n).astype(np.int32) for n in rng.integers(1, 90, 3))
        )
        rewards = rng.random(3)
        return ScoredGroup(
            Group(str(number), task, prompt, trajectories),
            tuple(Verdict(r, r, 1.0, r, 0.0, 0.0, None, ()) for r in rewards),
        )

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
            for t, advantage in zip(
                scored.group.trajectories, (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6), strict=True
            ):
                sample = Sample(scored.group.prompt_ids, scored.group.task.images, t.ids)
                (logits,) = logits_of(model, encoder, [sample])
                logp = log_softmax(logits, bias, 1.0)[range(len(t.ids)), t.ids]
                (-advantage / tokens * logp.sum()).backward()
        gradients[name] = {
            n: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy() for n, p in model.named_parameters()
        }
    return gradients


@pytest.mark.parametrize(
    "ranks, zero_stage, micro_batch_tokens, packed, checkpointed, batch",
    [
        (1, 0, 1, True, False, "films"),
        (1, 0, 250, True, True, "both"),
        (1, 0, 8192, True, False, "films"),
        (1, 0, 400, False, False, "films"),
        (1, 2, 400, True, False, "films"),
        (1, 3, 400, True, True, "text"),
        (2, 0, 300, True, False, "films"),
        (2, 2, 1, True, False, "both"),
        (2, 2, 8192, True, True, "text"),
        (2, 3, 250, True, False, "films"),
        (2, 3, 8192, True, True, "both"),
        (2, 3, 300, False, False, "both"),
    ],
)
def test_the_gradient_is_the_plain_one(
    one, two, batches, plain, ranks, zero_stage, micro_batch_tokens, packed, checkpointed, batch
):
    world = two if ranks == 2 else one
    world.make(
        zero=ENTIRELY, zero_stage=zero_stage, micro_batch_tokens=micro_batch_tokens, gradient_checkpointing=checkpointed
    )
    if not packed:
        world.all("pad")
    row = world.update(GrpoUpdate(batches[batch], TRAINING, 1e-3, 1.0))
    ours = {name.removeprefix("model."): gradient for name, gradient in world.first("last_gradients").items()}
    whole = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in plain[batch].values()))
    assert set(ours) == set(plain[batch])
    for name, wanted in plain[batch].items():
        assert np.linalg.norm(ours[name] - wanted) <= 1e-5 * np.linalg.norm(wanted) + 1e-7 * whole, name
    assert row["grad_norm"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_a_rank_of_films_and_one_of_text_go_on_together(one, two, batches, zero_stage):
    """Ranks that wait for each other in every layer: forward alone, with unlike numbers of micro-batches, and without
    a group.
    """
    films, text = (
        [Sample(s.group.prompt_ids, s.group.task.images, t.ids) for s in groups for t in s.group.trajectories]
        for groups in (batches["films"][:1], batches["text"])
    )
    assert all(sample.images for sample in films) and not any(sample.images for sample in text)
    one.make(micro_batch_tokens=250)
    two.make(zero=ENTIRELY, zero_stage=zero_stage, micro_batch_tokens=250)
    wanted = one.first("logprobs", films + text)
    found = wait_for(
        [host.logprobs.remote(samples) for host, samples in zip(two.hosts, (films, text), strict=True)],
        120,
        "the ranks",
    )
    assert max(np.abs(a - b).max() for a, b in zip(found[0] + found[1], wanted, strict=True)) < 1e-4
    before = two.first("state")
    for groups, updates in ((batches["text"][:1], 1), (batches["both"], 2)):  # an update has one group: a rank has none
        training = TRAINING.model_copy(update={"updates_per_step": updates})
        rows = [world.update(GrpoUpdate(groups, training, 1e-6, 1.0)) for world in (one, two)]
        assert rows[1]["loss"] == pytest.approx(rows[0]["loss"], rel=1e-4, abs=1e-7)
        assert rows[1]["grad_norm"] == pytest.approx(rows[0]["grad_norm"], rel=1e-4)
    assert not same(two.first("state"), before)
