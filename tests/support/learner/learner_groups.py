"""Groups with verdicts, for tests of the learner's steps."""

import numpy as np
import pytest
import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from rewards.verdict import StepVerdict, Verdict


@pytest.fixture(scope="module")
def groups(tiny_model, phantom_tasks):
    """Four groups of three responses with made-up verdicts on every token; a group without advantage; one response cut
    off.
    """
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
            trajectories.append(
                Trajectory(
                    "", ids, logprobs, np.zeros_like(ids), np.arange(1, len(ids) + 1), "length" if cut else "stop", 0
                )
            )
            base, *scores = (number != 2) * rng.random(len(ids) + 1)
            steps = tuple(StepVerdict(i, i + 1, "A", "right", score, "") for i, score in enumerate(scores))
            verdicts.append(Verdict(base, base, 1.0, base, 0.0, 0.0, None, steps))
        made.append(ScoredGroup(Group(str(number), task, prompt, tuple(trajectories)), tuple(verdicts)))
    return made


def plain(policy, sample):
    return policy(policy.collate([sample], [0], torch.device("cpu")), 1.0)[0]
