"""The DeepSpeed rank: what it keeps in a checkpoint. That its steps are the plain ones is shown in test_algorithms.py."""

import socket

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import load_file

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


def plain(policy, sample):
    return policy(policy.collate([sample], [0], torch.device("cpu")), 1.0)[0]


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
