"""Adapters: what they learn, what is published of them, what KL is measured from, what a commit holds."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from actors.deepspeed_rank import REFERENCE
from actors.encode import Encoder, PromptConfig
from actors.policy import Policy
from actors.storage import Storage
from actors.training import Freeze, GrpoTraining, LearnerConfig, Lora
from actors.trajectory import Sample
from ranks import ENTIRELY, same, two_groups

LORA = Lora(rank=8, alpha=16)
LR = 5e-3


@pytest.mark.parametrize("config", [dict(zero_stage=2), dict(zero_stage=3, gradient_checkpointing=True),
                                    dict(zero_stage=3, dtype="bfloat16")], ids=str)
def test_adapters_learn_and_the_merged_model_is_what_was_learnt(two, tiny_model, phantom_tasks, tmp_path, config):
    tasks, exact = phantom_tasks[:4], config.get("dtype") is None
    two.make(zero=ENTIRELY, lora=LORA, **config)
    before = two.first("state")
    losses = [two.call("sft", tasks, LR)["loss"] for _ in range(6)]
    assert losses[-1] < losses[0] - 0.5 and two.call("sft", tasks, LR)["skipped"] == 0
    two.call("export", str(tmp_path))
    state = two.first("state")
    moved = {name for name in state if (state[name] != before[name]).any()}
    assert moved == {name for name in before if "language_model.layers" in name and before[name].ndim == 2}
    encoder = Encoder(tiny_model, PromptConfig())
    samples = [Sample(encoder.expand(t), t.images, encoder.response_ids(t.reference)) for t in tasks]
    exported = Policy(tmp_path, encoder, torch.float32 if exact else torch.bfloat16)
    with torch.no_grad():
        (batch,) = [exported.collate(samples, cut, torch.device("cpu")) for cut in exported.cut(samples, range(4), 10**6)]
        values = dict(zip(batch.index, exported(batch, 1.0)[0].split(batch.lengths)))
    for i, ours in enumerate(two.first("logprobs", samples)):
        assert np.abs(values[i].numpy() - ours).mean() < (1e-6 if exact else 0.02)


@pytest.mark.parametrize("stage", [0, 3])
def test_kl_is_measured_from_the_adapters_of_the_stages_start(two, tiny_model, phantom_tasks, tmp_path, stage):
    """And all goes on from a commit, which holds no weights that never change but those that are served."""
    training, groups = GrpoTraining(kl=0.5, credit="response", updates_per_step=2), two_groups(tiny_model, phantom_tasks)
    two.make(zero=ENTIRELY, lora=LORA, zero_stage=stage)
    for _ in range(2):
        two.call("sft", phantom_tasks[:4], LR)
    two.call("export", str(tmp_path / "start"))
    two.call("start_stage", True, True, False)
    assert two.call("grpo", groups, training.model_copy(update={"updates_per_step": 1}), 1e-9, 1.0)["kl"] == pytest.approx(0, abs=1e-9)
    before = two.first("state")
    row = two.call("grpo", groups, training, LR, 1.0)
    assert row["kl"] > 1e-4 and not same(two.first("state"), before)
    storage = Storage(str(tmp_path / "commit"))
    storage.clear()
    two.every("save", storage)
    assert {name: tuple(v.shape) for name, v in load_file(tmp_path / "commit" / REFERENCE).items()} == {
        name: shape for name, shape in two.first("shapes") if "lora" in name}
    rows, ends = [], []
    for fresh in (False, True):
        if fresh:
            two.make(zero=ENTIRELY, lora=LORA, zero_stage=stage)
            two.call("load", storage)
        rows.append(two.call("grpo", groups, training, LR, 1.0))
        ends.append(two.first("state"))
    assert rows[0] == rows[1] and same(*ends)


@pytest.mark.parametrize("config, why", [
    (dict(lora=LORA, freeze=Freeze(vision=True)), "with lora nothing but adapters is trained"),
    (dict(lora={"rank": 8, "targets": []}), "targets"), (dict(lora={"rank": 0}), "rank")])
def test_what_goes_not_with_adapters_is_refused(config, why):
    with pytest.raises(ValidationError, match=why):
        LearnerConfig(**config)
