"""The DeepSpeed rank against the same mathematics written plainly."""

import socket
from dataclasses import replace

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import load_file

from actors.advantage import token_advantages
from actors.deepspeed_rank import REFERENCE, DeepSpeedRank
from actors.encode import Encoder, PromptConfig
from actors.policy import Policy
from actors.storage import Storage
from actors.training import GrpoTraining, LearnerConfig
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from actors.waiting import wait_for
from rewards.verdict import StepVerdict, Verdict

CONFIG = LearnerConfig(threads=2, micro_batch_tokens=600)
LR = 1e-3


@pytest.fixture(scope="module")
def make_rank(ray_session, tiny_model):
    """Starts a rank on its own, without Ray Train around it."""
    ranks = []

    def make():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        setup = dict(config=CONFIG, model=str(tiny_model), prompt=PromptConfig(), store=None, seed=0)
        ranks.append(ray.remote(DeepSpeedRank).options(num_cpus=0.5, runtime_env={"env_vars": alone}).remote(setup, 0, 1))
        return ranks[-1]

    yield make
    for rank in ranks:
        ray.kill(rank)


@pytest.fixture(scope="module")
def groups(tiny_model, phantom_tasks):
    """Four groups of three responses with made-up verdicts on every token; a group without advantage; one response cut off."""
    encoder = Encoder(tiny_model, PromptConfig())
    policy = Policy(tiny_model, encoder, torch.float32)
    rng = np.random.default_rng(0)
    made = []
    for number, task in enumerate(phantom_tasks[::5][:4]):
        prompt = encoder.expand(task)
        trajectories, verdicts = [], []
        for index in range(3):
            ids = encoder.response_ids(task.reference)[: 20 + 9 * index]
            logprobs = plain(policy, Sample(prompt, task.images, ids)).detach().numpy()
            cut = (number, index) == (1, 2)
            trajectories.append(Trajectory("", ids, logprobs, np.zeros_like(ids), np.arange(1, len(ids) + 1),
                                           "length" if cut else "stop", 0))
            base, *scores = (number != 2) * rng.random(len(ids) + 1)
            steps = tuple(StepVerdict(i, i + 1, "A", "right", score, "") for i, score in enumerate(scores))
            verdicts.append(Verdict(base, base, 1.0, base, 0.0, 0.0, None, steps))
        made.append(ScoredGroup(Group(str(number), task, prompt, tuple(trajectories)), tuple(verdicts)))
    return made


def written_by_others(scored, seed):
    """The same group, as weights that differ a little would have written it."""
    rng = np.random.default_rng(seed)
    trajectories = tuple(replace(t, logprobs=t.logprobs + rng.normal(0, 0.4, len(t.ids)).astype(np.float32))
                         for t in scored.group.trajectories)
    return replace(scored, group=replace(scored.group, trajectories=trajectories))


def plain(policy, sample):
    return policy(policy.collate([sample], [0], torch.device("cpu")), 1.0)[0]


def advantages(scored, training):
    return token_advantages(scored.verdicts, [t.char_ends for t in scored.group.trajectories], training.credit,
                            training.process_weight)


def plainly(tiny_model, groups, training, lr):
    """The updates of a step, sample by sample, in plain PyTorch."""
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32)
    start = Policy(tiny_model, policy.encoder, torch.float32)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in policy.parameters() if p.ndim >= 2], "weight_decay": CONFIG.weight_decay},
         {"params": [p for p in policy.parameters() if p.ndim < 2], "weight_decay": 0.0}], lr=lr, betas=CONFIG.betas)
    for chunk in [groups[i :: training.updates_per_step] for i in range(training.updates_per_step)]:
        rows = [(Sample(g.group.prompt_ids, g.group.task.images, t.ids), t.logprobs, torch.from_numpy(a),
                 0.0 if training.truncated == "mask" and t.truncated else 1.0)
                for g in chunk for t, a in zip(g.group.trajectories, advantages(g, training), strict=True)]
        count = sum(len(sample.response_ids) * keep for sample, _, _, keep in rows)
        for sample, rollout, advantage, keep in rows:
            logp, old = plain(policy, sample), plain(start, sample).detach()
            ratio = (logp - old).exp()
            loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - training.clip_low, 1 + training.clip_high))
            loss = torch.where(advantage < 0, torch.minimum(loss, -advantage * training.dual_clip), loss)
            kl = (old - logp).exp() - (old - logp) - 1
            away = old - torch.from_numpy(rollout)  # of the weights that wrote the response
            corrected = {"none": torch.ones(()), "token": away.exp().clamp(max=training.correction_cap),
                         "sequence": away.sum().exp().clamp(max=training.correction_cap)}[training.correction]
            (keep * (loss * corrected + training.kl * kl).sum() / count).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), CONFIG.clip_grad)
        optimizer.step()
        optimizer.zero_grad()
    return policy.model.state_dict()


@pytest.mark.parametrize("changes", [
    {}, {"updates_per_step": 2}, {"updates_per_step": 2, "kl": 0.5}, {"truncated": "mask"}, {"correction": "token"},
    {"correction": "sequence", "updates_per_step": 2},
], ids=lambda c: "-".join(c) or "plain")
def test_a_step_is_the_plain_one(make_rank, groups, tiny_model, tmp_path, changes):
    training = GrpoTraining(**changes)
    if training.correction != "none":
        groups = [written_by_others(group, number) for number, group in enumerate(groups)]
    rank = make_rank()
    wait_for(rank.start_stage.remote(True, training.kl > 0, False), 120, "the rank")
    row = wait_for(rank.grpo.remote(groups, training, LR, 1.0), 120, "the rank")
    wait_for(rank.export.remote(str(tmp_path)), 60, "the rank")
    assert (row["logp_diff_max"] < 1e-5) == (training.correction == "none") == (row["correction"] == 1)
    assert row["tokens"] == sum(len(t.ids) for g in groups for t in g.group.trajectories)
    assert (row["kl"] > 0) == (training.kl > 0) and row["grad_norm"] > 0 and row["entropy"] > 0
    expected = plainly(tiny_model, groups, training, LR)
    moved = 0.0
    for name, value in load_file(tmp_path / "model.safetensors").items():
        known = next(v for n, v in expected.items()
                     if n.replace("model.visual.", "visual.").replace("model.language_model.", "model.") == name)
        # AdamW's first step is the gradient's sign: where the gradient is next to nothing, rounding decides it.
        assert ((value - known).abs() > 1e-5).float().mean() < 1e-3, name
        moved = max(moved, (value - known).abs().max().item())
    assert moved < 2.1 * LR * training.updates_per_step


def test_another_optimiser_state_and_reference_come_back_from_a_checkpoint(make_rank, groups, tmp_path):
    training = GrpoTraining(kl=0.1)
    first, second = make_rank(), make_rank()
    wait_for(first.start_stage.remote(True, True, False), 120, "the rank")
    for rank in (first,):
        wait_for(rank.grpo.remote(groups, training, LR, 1.0), 120, "the rank")
    storage = Storage(str(tmp_path / "commit"))
    storage.clear()
    files = wait_for(first.save.remote(storage), 60, "the rank")
    assert REFERENCE in files and all(storage.digest(name) == digest for name, digest in files.items())
    wait_for(second.load.remote(storage), 120, "the rank")
    for name, rank in (("a", first), ("b", second)):
        wait_for(rank.grpo.remote(groups, training, LR, 1.0), 120, "the rank")
        wait_for(rank.export.remote(str(tmp_path / name)), 60, "the rank")
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all((a[name] == b[name]).all() for name in a)
