"""Teachers: what a step makes of their log-probabilities, compared with transformers' own forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from actors.algorithm.advantage import batch_advantages
from actors.algorithm.config import GrpoTraining
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import Export, FolderModels, Load, Save, StartStage
from actors.learner.rank import REFERENCE
from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import FORBIDDEN_BIAS
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.runtime.storage import Storage
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from rewards.verdict import unscored
from tests.support.learner.learner_groups import groups  # noqa: F401 - a fixture
from tests.support.learner.ranks import ENTIRELY, same
from tests.support.models.plain_model import log_softmax, logits_of

LR = 1e-3


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, phantom_tasks):
    """The folders of two larger models with the policy's tokenizer, one of them with other proportions."""
    texts = [" ".join([t.question, *t.options.values(), t.reference]) for t in phantom_tasks]
    sizes = {"wide": {"hidden": 192, "seed": 5}, "deep": {"layers": 5, "vision_layers": 3, "seed": 6}}
    folders = {}
    for name, size in sizes.items():
        config = TinyModelConfig(vision_steps=0, **size)
        folders[name] = str(make_tiny_model(config, texts, tmp_path_factory.mktemp(name)))
    return folders


def training_with(*teachers, **keys):
    return GrpoTraining(**{"teacher": list(teachers), **keys})


def models_of(training):
    return FolderModels(training.reference_folder, tuple(teacher.folder for teacher in training.teacher))


def begin(world, training, **config):
    """A new rank, in a stage with such a training."""
    world.make(**config)
    world.call(StartStage(True, training.kl > 0, False, models_of(training)))


def plain_logprobs(model, encoder, scored):
    """float64 [tokens] of each response, by transformers' own forward; with their gradients."""
    bias = torch.zeros(model.lm_head.weight.shape[0], dtype=torch.float64)
    bias[encoder.forbidden(len(bias))] = FORBIDDEN_BIAS
    found = []
    for trajectory in scored.group.trajectories:
        sample = Sample(scored.group.prompt_ids, scored.group.task.images, trajectory.ids)
        (logits,) = logits_of(model, encoder, [sample])
        found.append(log_softmax(logits, bias, 1.0)[range(len(trajectory.ids)), trajectory.ids])
    return found


def plain_model(folder):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def expected(tiny_model, teachers, groups):  # noqa: F811
    """Gradients and divergences of a step with a teacher for one family and another one for the rest, in plain
    PyTorch.
    """
    encoder, policy = Encoder(tiny_model, PromptConfig()), plain_model(tiny_model)
    special = groups[0].group.task.family
    training = training_with(
        {"path": teachers["wide"], "weight": 0.5, "families": [special]}, {"path": teachers["deep"], "weight": 2.0}
    )
    models = {name: plain_model(folder) for name, folder in teachers.items()}
    rewards = batch_advantages(
        [s.verdicts for s in groups], [[t.char_ends for t in s.group.trajectories] for s in groups], "step", 0.5
    )
    tokens = sum(len(t.ids) for s in groups for t in s.group.trajectories)
    divergences = {}
    for scored, own in zip(groups, rewards, strict=True):
        name, weight = ("wide", 0.5) if scored.group.task.family == special else ("deep", 2.0)
        with torch.no_grad():
            taught = plain_logprobs(models[name], encoder, scored)
        for logp, theirs, advantage in zip(plain_logprobs(policy, encoder, scored), taught, own, strict=True):
            signal = theirs - logp.detach()
            worth = torch.from_numpy(advantage).double() + weight * signal
            (-(worth * logp).sum() / tokens).backward()
            divergences.setdefault(scored.group.task.family, []).append(torch.exp(signal) - signal - 1)
    gradients = {name: p.grad.numpy() for name, p in policy.named_parameters() if p.grad is not None}
    return training, gradients, {name: torch.cat(parts) for name, parts in divergences.items()}


@pytest.mark.parametrize("ranks, zero_stage, micro_batch_tokens", [(1, 0, 8192), (1, 0, 1), (2, 2, 250), (2, 3, 300)])
def test_a_token_is_worth_what_the_teacher_says_beside_its_reward(
    one,
    two,
    groups,  # noqa: F811
    expected,
    ranks,
    zero_stage,
    micro_batch_tokens,
):
    training, gradients, divergences = expected
    world = two if ranks == 2 else one
    begin(world, training, zero=ENTIRELY, zero_stage=zero_stage, micro_batch_tokens=micro_batch_tokens)
    row = world.update(GrpoUpdate(groups, training, LR, 1.0))
    ours = {name.removeprefix("model."): gradient for name, gradient in world.first("last_gradients").items()}
    whole = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
    for name, wanted in gradients.items():
        assert np.linalg.norm(ours[name] - wanted) <= 1e-4 * np.linalg.norm(wanted) + 1e-6 * whole, name
    assert len(divergences) > 1
    for family, values in divergences.items():
        assert row[f"teacher_kl_{family}"] == pytest.approx(values.mean().item(), rel=1e-4)
    assert row["teacher_kl"] == pytest.approx(torch.cat(list(divergences.values())).mean().item(), rel=1e-4)


@pytest.mark.parametrize("updates", [1, 2])
def test_a_teacher_with_weight_0_is_measured_and_changes_no_bit(one, groups, teachers, updates):  # noqa: F811
    ends = []
    for training in (
        GrpoTraining(updates_per_step=updates),
        training_with({"path": teachers["wide"], "weight": 0}, updates_per_step=updates),
    ):
        begin(one, training)
        row = one.update(GrpoUpdate(groups, training, LR, 1.0))
        ends.append(one.first("state"))
    assert same(*ends) and row["teacher_kl"] > 0


def test_a_family_without_a_teacher_learns_from_rewards_alone(one, groups, teachers):  # noqa: F811
    families = {scored.group.task.family for scored in groups}
    chosen = groups[0].group.task.family
    others = [scored for scored in groups if scored.group.task.family != chosen]
    ends = []
    for training in (GrpoTraining(), training_with({"path": teachers["wide"], "families": [chosen]})):
        begin(one, training)
        row = one.update(GrpoUpdate(others, training, LR, 1.0))
        ends.append(one.first("state"))
        assert not [name for name in row if name.startswith("teacher_kl")]
    assert same(*ends) and len(families) > 1


@pytest.mark.parametrize("lora", [None, Lora(rank=4, alpha=8)], ids=["full", "adapters"])
def test_a_resumed_rank_goes_on_with_its_teacher_and_the_folder_of_its_reference(
    one,
    groups,  # noqa: F811
    teachers,
    tiny_model,
    tmp_path,
    lora,
):
    """They are not in the commit; the order that loads it names them."""
    training = training_with(
        {"path": teachers["wide"], "weight": 0.3}, kl=0.2, reference_path=teachers["deep"], updates_per_step=2
    )
    storage, ends, rows = Storage(str(tmp_path / "commit")), [], []
    storage.clear()
    begin(one, training, lora=lora)
    with torch.no_grad():
        encoder, other = Encoder(tiny_model, PromptConfig()), plain_model(teachers["deep"])
        policy = plain_model(tiny_model)
        first = groups[0]
        d = torch.cat(plain_logprobs(policy, encoder, first)) - torch.cat(plain_logprobs(other, encoder, first))
    row = one.update(GrpoUpdate([first], training.model_copy(update={"updates_per_step": 1}), LR, 1.0))
    assert row["kl"] == pytest.approx((torch.exp(-d) + d - 1).mean().item(), rel=1e-4)
    assert REFERENCE not in one.call(Save(storage))
    for fresh in (False, True):
        if fresh:
            one.make(lora=lora)
            one.call(Load(storage, models_of(training)))
        rows.append(one.update(GrpoUpdate(groups, training, LR, 1.0)))
        ends.append(one.first("state"))
    assert same(*ends) and rows[0]["teacher_kl"] == rows[1]["teacher_kl"] > 0 and rows[0]["kl"] == rows[1]["kl"] > 0


def test_distillation_alone_brings_the_policy_nearer_to_its_teacher(one, teachers, tiny_model, phantom_tasks, tmp_path):
    """The divergence itself, over the whole vocabulary, on responses that the policy writes anew at every step."""
    encoder, teacher = Encoder(tiny_model, PromptConfig()), plain_model(teachers["wide"])
    tasks = [task.model_copy(update={"images": ()}) for task in phantom_tasks[:8]]
    training = training_with({"path": teachers["wide"]}, reward_weight=0)
    torch.manual_seed(0)
    begin(one, training)
    divergences, told = [], []
    for step in range(12):
        one.call(Export(tmp_path / str(step)))
        policy = plain_model(tmp_path / str(step))
        scored = [written(policy, encoder, task, step) for task in tasks]
        divergences.append(np.mean([whole_divergence(policy, teacher, encoder, group) for group in scored]))
        told.append(one.update(GrpoUpdate(scored, training, 3e-3, 1.0))["teacher_kl"])
    assert np.mean(divergences[-3:]) < 0.6 * divergences[0], divergences
    assert np.mean(told[-3:]) < 0.6 * told[0] and told[0] == pytest.approx(divergences[0], rel=0.3)


def written(policy, encoder, task, step):
    """A group of eight responses of twelve tokens, sampled from the policy."""
    prompt = np.array(encoder.prompt_ids(task), np.int32)
    ids = torch.from_numpy(prompt)[None].long()
    with torch.no_grad():
        out = policy.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=torch.zeros_like(ids).int(),
            do_sample=True,
            top_k=0,
            max_new_tokens=12,
            min_new_tokens=12,
            num_return_sequences=8,
            suppress_tokens=encoder.forbidden(policy.lm_head.weight.shape[0]),
        )
    rows = out[:, len(prompt) :].numpy().astype(np.int32)
    trajectories = tuple(
        Trajectory("", row, np.zeros(12, np.float32), np.zeros_like(row), np.arange(1, 13), "stop", 0) for row in rows
    )
    return ScoredGroup(Group(f"{task.id} {step}", task, prompt, trajectories), (unscored("no reward"),) * 8)


@torch.no_grad()
def whole_divergence(policy, teacher, encoder, scored):
    """The mean of KL(policy ‖ teacher) over the tokens of a group."""
    bias = torch.zeros(policy.lm_head.weight.shape[0], dtype=torch.float64)
    bias[encoder.forbidden(len(bias))] = FORBIDDEN_BIAS
    samples = [Sample(scored.group.prompt_ids, (), t.ids) for t in scored.group.trajectories[:3]]
    total = []
    for sample in samples:
        own, other = (log_softmax(logits_of(model, encoder, [sample])[0], bias, 1.0) for model in (policy, teacher))
        total.append((own.exp() * (own - other)).sum(-1).mean().item())
    return np.mean(total)


def test_a_model_is_let_go_with_its_stage(one, groups, teachers):  # noqa: F811
    training = training_with({"path": teachers["wide"]}, kl=0.1, reference_path=teachers["wide"])
    begin(one, training)
    assert one.first("held") == [teachers["wide"]]  # one copy for both
    one.call(StartStage(False, True, False))
    assert one.first("held") == []
    row = one.update(GrpoUpdate([replace(groups[0])], GrpoTraining(kl=0.1), LR, 1.0))
    assert row["kl"] == pytest.approx(0, abs=1e-6) and "teacher_kl" not in row
