"""FLOPs of a forward and a backward pass, against torch's own count of the operators that run."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from actors.learner.config import LearnerConfig
from actors.learner.deepspeed_engine import checkpoint_layers, choose_trained
from actors.model.encode import Encoder, PromptConfig
from actors.model.flops.costs import Flops, model_costs
from actors.model.policy import Policy
from actors.trajectory import Sample
from tests.support.models.tiny_families import MAKERS, make_family

LAYOUTS = {
    "everything": {},
    "no vision": {"freeze": {"vision": True}},
    "last layers": {"freeze": {"vision": True, "projector": True, "embedding": True, "layers": 1}},
    "adapters": {"lora": {"rank": 4, "targets": ["language"]}},
    "recomputed": {"gradient_checkpointing": True},
    "recomputed adapters": {"gradient_checkpointing": True, "lora": {"rank": 4, "targets": ["language"]}},
    "recomputed, no vision": {"gradient_checkpointing": True, "freeze": {"vision": True}},
}


def counted(function):
    """(what a function returned, FLOPs). Attention is plain products here, which torch counts."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result = function()
    return result, counter.get_total_flops()


def computed_pairs(segments):
    """Pairs that attention without a fast kernel computes: those that the mask forbids, too."""
    total = 0
    for length, prompt in zip(segments.lengths, segments.prompts, strict=True):
        known = 0 if prompt is None else segments.lengths[prompt]
        rows = known + length if known < length else length
        total += rows * (known + length)
    return total


@pytest.mark.parametrize("layout", LAYOUTS)
def test_they_are_what_torch_counts(tiny_model, phantom_tasks, layout):
    config = LearnerConfig(**LAYOUTS[layout])
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32)
    choose_trained(policy.model, config)
    if config.gradient_checkpointing:
        checkpoint_layers(policy.model)
    encoder = policy.encoder
    samples = []
    for task in (phantom_tasks[0], phantom_tasks[8]):
        ids = encoder.response_ids(task.reference)
        samples += [Sample(encoder.expand(task), task.images, ids[:length]) for length in (30, 60)]
    batch = policy.collate(samples, range(4), torch.device("cpu"))
    costs = model_costs(policy.model, encoder.family, config.gradient_checkpointing)
    expected = costs.of(replace(batch.amounts, pairs=computed_pairs(batch.segments)))
    (logp, entropy), forward = counted(lambda: policy(batch, 1.0))
    assert forward == pytest.approx(expected.forward, rel=0.01)
    _, backward = counted((logp.sum() + entropy.sum()).backward)
    assert backward == pytest.approx(expected.backward + expected.again, rel=0.03)


@pytest.mark.parametrize("name", MAKERS)
def test_a_forward_of_every_family_costs_what_torch_counts(name, phantom_tasks, tmp_path):
    task = phantom_tasks[0]
    folder = make_family(name, [" ".join([task.question, *task.options.values(), task.reference])], tmp_path)
    encoder = Encoder(folder, PromptConfig())
    policy = Policy(folder, encoder, torch.float32)
    images = task.images if encoder.family.reads_images else ()
    task = task.model_copy(update={"images": images})
    sample = Sample(encoder.expand(task), images, encoder.response_ids(task.reference))
    batch = policy.collate([sample], [0], torch.device("cpu"))
    pairs = computed_pairs(batch.segments) if policy.packed else batch.ids.numel() ** 2
    expected = model_costs(policy.model, encoder.family).of(replace(batch.amounts, pairs=pairs))
    with torch.no_grad():
        _, forward = counted(lambda: policy(batch, 1.0))
    if encoder.family.linear_attention:  # its recurrence is not counted, and weighs in so small a model
        assert expected.forward < forward < 2 * expected.forward
    else:
        assert forward == pytest.approx(expected.forward, rel=0.03)


def test_they_are_those_of_the_papers_for_a_dense_model():
    """PaLM, appendix B: 6 for each weight of a product and token, and 12 × layers × heads × head size for each pair."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from actors.model.families import family_of

    h, wide, kv, layers, words = 3584, 18944, 4 * 128, 28, 152064
    config = Qwen2Config(
        hidden_size=h,
        intermediate_size=wide,
        num_hidden_layers=layers,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=words,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        costs = model_costs(Qwen2ForCausalLM(config), family_of("qwen2"))
    weights = layers * (2 * h * h + 2 * h * kv + 3 * h * wide)
    assert costs.token == Flops(2 * weights, 4 * weights)
    assert costs.pair == Flops(4 * layers * h, 8 * layers * h)
    assert costs.word == Flops(2 * h * words, 4 * h * words, 2 * h * words)
    assert costs.patch == costs.patch_pair == Flops()
