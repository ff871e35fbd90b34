"""Adapters: their gradient, what is published, what KL is measured from, what a commit holds, what is refused."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.func import functional_call
from transformers import AutoModelForImageTextToText

from actors.algorithm.config import GrpoTraining
from actors.learner.config import Freeze, LearnerConfig
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import Export, Load, Save, StartStage
from actors.learner.rank import REFERENCE
from actors.learner.sft_update import SftUpdate
from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.lora import adapt
from actors.model.model_parts import part_of
from actors.model.policy import FORBIDDEN_BIAS, Policy
from actors.runtime.storage import POLICY, Storage
from actors.trajectory import Sample
from tests.support.learner.ranks import ENTIRELY, same, two_groups
from tests.support.models.plain_model import log_softmax, logits_of

LORA = Lora(rank=8, alpha=16)
EVERYWHERE = Lora(rank=4, alpha=2, targets=("vision", "projector", "language"))
LR = 5e-3


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig())


@pytest.fixture(scope="module")
def samples(encoder, phantom_tasks):
    return [Sample(encoder.expand(t), t.images, encoder.response_ids(t.reference)) for t in phantom_tasks[:4]]


def plain_gradients(folder, encoder, samples, weights, lora):
    """Of the mean of −log p over all tokens, by autograd through W + (alpha / rank) B A, without peft."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    own = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items() if "lora_" in name}
    whole = {}
    for name in (name for name in own if "lora_A" in name):
        place = name.removesuffix(".lora_A.default.weight")
        whole[f"{place}.weight"] = (
            model.get_parameter(f"{place}.weight").detach()
            + lora.alpha / lora.rank * own[name.replace("lora_A", "lora_B")] @ own[name]
        )
    bias = torch.zeros(model.lm_head.weight.shape[0], dtype=torch.float64)
    bias[encoder.forbidden(len(bias))] = FORBIDDEN_BIAS
    call = lambda **inputs: functional_call(model, whole, kwargs=inputs)  # noqa: E731
    logps = [
        log_softmax(logits, bias, 1.0)[range(len(s.response_ids)), s.response_ids]
        for logits, s in zip(logits_of(call, encoder, samples), samples, strict=True)
    ]
    (-torch.cat(logps).mean()).backward()
    return {f"model.{name}": value.grad.numpy() for name, value in own.items()}


@pytest.mark.parametrize(
    "config",
    [
        dict(zero_stage=0),
        pytest.param(dict(zero_stage=2, lora=EVERYWHERE), marks=pytest.mark.slow),
        dict(zero_stage=3, gradient_checkpointing=True, lora=EVERYWHERE),
    ],
    ids=str,
)
def test_adapters_learn_by_the_plain_gradient_and_nothing_else_changes(
    two, tiny_model, encoder, samples, phantom_tasks, config
):
    lora = config.get("lora", LORA)
    two.make(zero=ENTIRELY, **{"lora": lora} | config)
    before = two.first("weights")
    losses = [two.update(SftUpdate(phantom_tasks[:4], LR))["loss"] for _ in range(3)]
    assert losses[-1] < losses[0] - 0.05
    weights = two.first("weights")
    two.update(SftUpdate(phantom_tasks[:4], LR))
    expected, found = plain_gradients(tiny_model, encoder, samples, weights, lora), two.first("last_gradients")
    assert found.keys() == expected.keys() and {part_of(name) for name in found} == set(lora.targets)
    off, size = (
        sum(np.square(value).sum() for value in values)
        for values in ([found[name] - expected[name] for name in found], expected.values())
    )
    assert off < 1e-10 * size
    stayed = {name for name, value in two.first("weights").items() if (value == before[name]).all()}
    assert stayed == {name for name in before if "lora_" not in name}


@pytest.mark.parametrize("config", [dict(zero_stage=3), dict(zero_stage=1, dtype="bfloat16")], ids=str)
def test_what_is_exported_is_a_plain_model_that_says_the_same(two, encoder, samples, phantom_tasks, tmp_path, config):
    two.make(zero=ENTIRELY if config["zero_stage"] == 3 else {}, lora=EVERYWHERE, **config)
    for _ in range(3):
        two.update(SftUpdate(phantom_tasks[:4], LR))
    two.call(Export(tmp_path))
    exact = "dtype" not in config
    for mine, ours in zip(
        logprobs_of(tmp_path, encoder, samples, torch.float32 if exact else torch.bfloat16),
        two.first("logprobs", samples),
        strict=True,
    ):
        assert np.abs(mine - ours).mean() < (1e-6 if exact else 0.02)


def logprobs_of(folder, encoder, samples, dtype=torch.float32):
    policy, values = Policy(folder, encoder, dtype), {}
    with torch.no_grad():
        for cut in policy.cut(samples, range(len(samples)), 10**6):
            batch = policy.collate(samples, cut, torch.device("cpu"))
            values |= zip(batch.index, policy(batch, 1.0)[0].split(batch.lengths), strict=True)
    return [values[i].numpy() for i in range(len(samples))]


# Offloading is refused on a CPU, where it moves nothing: but the copy takes the same way.
@pytest.mark.parametrize(
    "config",
    [
        dict(lora=LORA),
        pytest.param(dict(lora=LORA, zero_stage=3), marks=pytest.mark.slow),
        pytest.param(dict(zero_stage=3, offload="parameters"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_reference_is_the_policy_of_the_stages_start(
    two, tiny_model, encoder, samples, phantom_tasks, tmp_path, config
):
    """And a commit holds all that is needed to go on exactly."""
    training, groups = (
        GrpoTraining(kl=0.5, credit="response", updates_per_step=2),
        two_groups(tiny_model, phantom_tasks),
    )
    two.make_unchecked(ENTIRELY, **config)
    two.update(SftUpdate(phantom_tasks[:4], LR))
    two.call(Export(tmp_path / "start"))
    two.call(StartStage(True, True, False))
    two.update(GrpoUpdate(groups, training, LR, 1.0))
    before = two.first("weights"), two.first("logprobs", samples)
    for mine, ours, policy in zip(
        logprobs_of(tmp_path / "start", encoder, samples),
        two.first("reference_logprobs", samples),
        before[1],
        strict=True,
    ):
        assert np.abs(mine - ours).max() < 1e-5 < 1e-3 < np.abs(ours - policy).max()
    assert same(two.first("weights"), before[0])
    assert all((a == b).all() for a, b in zip(two.first("logprobs", samples), before[1], strict=True))
    storage = Storage(str(tmp_path / "commit"))
    storage.clear()
    files = [name for written in two.every(Save(storage)) for name in written]
    kept = {name for name in before[0] if "lora_" in name or "lora" not in config}
    assert load_file(tmp_path / "commit" / REFERENCE).keys() == kept
    size = sum((tmp_path / "commit" / name).stat().st_size for name in files if name.startswith("learner/"))
    assert (size < 0.5 * (tmp_path / "commit" / POLICY).stat().st_size) == ("lora" in config)
    rows, ends = [], []
    for fresh in (False, True):
        if fresh:
            two.make_unchecked(ENTIRELY, **config)
            two.call(Load(storage))
        rows.append(two.update(GrpoUpdate(groups, training, LR, 1.0)))
        ends.append(two.first("weights"))
    assert rows[0] == rows[1] and rows[0]["kl"] > 1e-4 and same(*ends) and not same(ends[0], before[0])


@pytest.mark.parametrize(
    "config, why",
    [
        (dict(lora=LORA, freeze=Freeze(vision=True)), "with lora nothing but adapters is trained"),
        (
            dict(lora=LORA, lr_scale={"vision": 0.1}),
            "nothing is trained of vision: leave it out, or name it in lora.targets",
        ),
        (
            dict(freeze=Freeze(vision=True), lr_scale={"vision": 0.1}),
            "nothing is trained of vision: leave it out, or out of freeze",
        ),
        (dict(lora={"rank": 8, "targets": []}), "targets"),
        (dict(lora={"rank": 0}), "rank"),
    ],
)
def test_what_goes_not_with_adapters_is_refused(config, why):
    with pytest.raises(ValidationError, match=why):
        LearnerConfig(**config)


def test_adapters_of_a_part_that_is_not_there_are_refused():
    with pytest.raises(
        ValueError, match="lora.targets: this model has no linear layer in a part that is known as vision"
    ):
        adapt(torch.nn.Module(), EVERYWHERE)
