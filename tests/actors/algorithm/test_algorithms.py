"""A step of each algorithm does what its switches say: compared with the same step in plain PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from actors.algorithm.advantage import batch_advantages
from actors.algorithm.config import GrpoTraining
from actors.algorithm.presets import PRESETS
from actors.learner.config import LearnerConfig
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import Export, FolderModels, Load, Save, StartStage
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.runtime.storage import Storage
from actors.trajectory import Sample
from tests.support.learner.learner_groups import groups, plain  # noqa: F401 - the first is a fixture
from tests.support.models.plain_loss import LONGEST, naive

LR, CONFIG = 1e-3, LearnerConfig()


@pytest.fixture(scope="module")
def moved(one, groups, tmp_path_factory):  # noqa: F811
    """A rank whose policy is a step away from its reference, the model that it began with; and a commit of that."""
    folder = tmp_path_factory.mktemp("moved")
    storage = Storage(str(folder / "commit"))
    one.make()
    one.call(StartStage(True, True, False))
    one.update(GrpoUpdate(groups, GrpoTraining(kl=0.1), 5e-3, 1.0))
    storage.clear()
    one.call(Save(storage))
    one.call(Export(folder / "model"))
    return one, storage, folder / "model"


def written(scored, policy, spread, seed):
    """The same group as `policy` would have written it; or with `spread` weights that differ a little."""
    rng = np.random.default_rng(seed)
    group = scored.group
    samples = (Sample(group.prompt_ids, group.task.images, t.ids) for t in group.trajectories)
    logprobs = [plain(policy, sample).detach().numpy() for sample in samples]
    logprobs = [own + rng.normal(0, spread, len(own)).astype(np.float32) for own in logprobs]
    trajectories = tuple(replace(t, logprobs=own) for t, own in zip(group.trajectories, logprobs, strict=True))
    return replace(scored, group=replace(group, trajectories=trajectories))


def plain_step(folder, first, scored, training):
    """A step in plain PyTorch: (state after it, loss and gradient norm of each update)."""
    encoder = Encoder(folder, PromptConfig())
    policy, start, reference = (Policy(path, encoder, torch.float32) for path in (folder, folder, first))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in policy.parameters() if p.ndim >= 2], "weight_decay": CONFIG.weight_decay},
            {"params": [p for p in policy.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=LR,
        betas=CONFIG.betas,
    )
    samples = [[Sample(s.group.prompt_ids, s.group.task.images, t.ids) for t in s.group.trajectories] for s in scored]
    old, ref = (
        [[plain(model, sample).detach() for sample in group] for group in samples] for model in (start, reference)
    )
    fines = None
    if training.kl and training.kl_in == "reward":
        d = [[a.double() - b.double() for a, b in zip(*both, strict=True)] for both in zip(old, ref, strict=False)]
        fines = [
            [training.kl * {"k1": x, "k3": (-x).exp() + x - 1}[training.kl_estimator].numpy() for x in group]
            for group in d
        ]
    advantages = batch_advantages(
        [s.verdicts for s in scored],
        [[t.char_ends for t in s.group.trajectories] for s in scored],
        training.credit,
        training.process_weight,
        training.baseline,
        training.normalise,
        fines,
    )
    numbers = []
    for update in range(training.updates_per_step):
        responses, flat = [], []
        for g in range(update, len(scored), training.updates_per_step):
            for r, trajectory in enumerate(scored[g].group.trajectories):
                logp, entropy = policy(policy.collate([samples[g][r]], [0], torch.device("cpu")), 1.0)
                worth = torch.from_numpy(advantages[g][r])
                if training.teacher:  # the first model, as the reference is
                    worth = training.reward_weight * worth + training.teacher[0].weight * (ref[g][r] - old[g][r])
                arrays = (torch.from_numpy(trajectory.logprobs), worth)
                if not training.teacher and not any(a.any() for a in advantages[g]):
                    flat.append(len(responses))
                responses.append(
                    (
                        logp,
                        entropy,
                        old[g][r],
                        *arrays,
                        ref[g][r],
                        not (training.truncated == "mask" and trajectory.truncated),
                    )
                )
        loss = naive(responses, training, flat)
        loss.backward()
        numbers.append((loss.item(), float(torch.nn.utils.clip_grad_norm_(policy.parameters(), CONFIG.clip_grad))))
        optimizer.step()
        optimizer.zero_grad()
    return policy.model.state_dict(), numbers


@pytest.mark.parametrize(
    "keys",
    [
        *({"algorithm": name} for name in PRESETS),
        pytest.param(
            {"algorithm": "gspo", "credit": "response", "kl": 0.2, "kl_estimator": "k2"}, marks=pytest.mark.slow
        ),
        {"algorithm": "rloo", "kl": 0.5, "credit": "return", "truncated": "mask"},
        {"algorithm": "reinforce_plus_plus", "kl": 0.5},
        {"algorithm": "cispo", "entropy": 0.1, "correction": "token", "normalise": "batch"},
        pytest.param({"updates_per_step": 1}, marks=pytest.mark.slow),
        {"updates_per_step": 1, "count_flat_groups": True},
        pytest.param({"kl": 0.5}, marks=pytest.mark.slow),
        pytest.param({"updates_per_step": 1, "truncated": "mask"}, marks=pytest.mark.slow),
        pytest.param({"updates_per_step": 1, "correction": "token"}, marks=pytest.mark.slow),
        {"correction": "sequence"},
        pytest.param({"teacher": 2.0}, marks=pytest.mark.slow),
        {"teacher": 0.5, "reward_weight": 0.3, "algorithm": "gspo", "truncated": "mask"},
        {"teacher": 3.0, "reward_weight": 0, "algorithm": "cispo", "kl": 0.5},
    ],
    ids=lambda keys: "-".join(str(value) for value in keys.values()),
)
def test_a_step_of_each_algorithm_is_the_plain_one(moved, groups, tiny_model, tmp_path, keys):  # noqa: F811
    rank, storage, folder = moved
    keys = dict(keys)
    if "teacher" in keys:
        keys["teacher"] = {"path": tiny_model, "weight": keys["teacher"]}
    training = GrpoTraining(**{"updates_per_step": 2, **keys}).within(LONGEST)
    policy = Policy(folder, Encoder(folder, PromptConfig()), torch.float32)
    groups = [written(group, policy, 0.4 * (training.correction != "none"), n) for n, group in enumerate(groups)]
    rank.call(Load(storage))
    teachers = tuple(teacher.folder for teacher in training.teacher)
    rank.call(StartStage(True, training.kl > 0, True, FolderModels(teachers=teachers)))
    row = rank.update(GrpoUpdate(groups, training, LR, 1.0))
    rank.call(Export(tmp_path))
    expected, numbers = plain_step(folder, tiny_model, groups, training)
    assert row["loss"] == pytest.approx(np.mean([loss for loss, _ in numbers]), rel=1e-3, abs=2e-5)
    assert row["grad_norm"] == pytest.approx(np.mean([norm for _, norm in numbers]), rel=1e-3)
    assert (row["logp_diff_max"] < 1e-5) == (training.correction == "none") == (row["correction"] == 1)
    assert row["tokens"] == sum(len(t.ids) for g in groups for t in g.group.trajectories)
    assert (row["kl"] > 0) == (training.kl > 0) and row["entropy"] > 0
    for name, value in load_file(tmp_path / "model.safetensors").items():
        known = next(
            v
            for n, v in expected.items()
            if n.replace("model.visual.", "visual.").replace("model.language_model.", "model.") == name
        )
        # AdamW's first step is the gradient's sign: where the gradient is next to nothing, rounding decides it.
        assert ((value - known).abs() > 1e-5).float().mean() < 1e-3, name
