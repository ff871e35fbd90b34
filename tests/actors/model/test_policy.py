from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import FORBIDDEN_BIAS, Policy
from actors.model.tiny_model import SPECIAL_TOKENS
from actors.trajectory import Sample
from tests.support.models.plain_model import log_softmax, logits_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[True, False], ids=["packed", "padded"])
def policy(request, tiny_model):
    torch.set_num_threads(2)
    return Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32, packed=request.param)


@pytest.fixture(scope="module")
def samples(policy, phantom_tasks, tmp_path_factory):
    """Responses of different lengths to questions on one film, on the same film, on other shapes, on two films."""
    folder = tmp_path_factory.mktemp("films")
    wide, tall = (str(folder / f"{name}.png") for name in ("wide", "tall"))
    for path, size in ((wide, (60, 150)), (tall, (150, 60))):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, size, np.uint8)).save(path)
    tasks = [
        task.model_copy(update={"images": images})
        for task, images in zip(
            phantom_tasks[:9],
            [
                phantom_tasks[0].images,
                phantom_tasks[0].images,
                phantom_tasks[4].images,
                (wide,),
                (tall,),
                (wide, phantom_tasks[4].images[0]),
                (tall, wide),
                (phantom_tasks[0].images[0],) * 2,
                phantom_tasks[8].images,
            ],
            strict=True,
        )
    ]
    encoder = policy.encoder
    ids = [encoder.response_ids(task.reference[: 20 + 9 * n]) for n, task in enumerate(tasks)]
    ids[2] = ids[2][:1]
    ids[5] = np.concatenate([ids[5]] * 9)  # longer than its prompt
    ids[3][2] = encoder.forbidden(policy.bias.numel())[-1]  # a token that padding added to the vocabulary
    ids[4][3] = encoder.tokenizer.convert_tokens_to_ids("<|vision_end|>")
    samples = [Sample(encoder.expand(task), task.images, response) for task, response in zip(tasks, ids, strict=True)]
    # More responses to the prompts of two samples; a prompt of the same words to another film is another prompt.
    samples += [replace(samples[n], response_ids=ids[m]) for n, m in ((5, 0), (0, 5), (5, 2), (0, 8))]
    text = [token for token in samples[0].prompt_ids if token not in encoder.forbidden(512)]
    return [*samples, replace(samples[0], images=samples[8].images), Sample(np.array(text, np.int32), (), ids[0])]


@pytest.fixture(scope="module")
def plain(tiny_model, policy, samples):
    """The logits [response tokens, vocabulary] of each sample on its own: no padding, the model's own positions."""
    with torch.no_grad():
        return logits_of(
            AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=torch.float32), policy.encoder, samples
        )


def micro_batches(policy, samples, max_tokens):
    return [policy.collate(samples, index, CPU) for index in policy.cut(samples, range(len(samples)), max_tokens)]


def run(policy, samples, max_tokens, **arguments):
    """Log-probabilities and entropies of each sample, put back into order, and the micro-batches."""
    rows, batches = {}, micro_batches(policy, samples, max_tokens)
    for batch in batches:
        with torch.no_grad():
            values = policy(batch, **arguments)
        logp, entropy = (value.split(batch.lengths) for value in values)
        rows.update(zip(batch.index, zip(logp, entropy, strict=True), strict=True))
    return [rows[n] for n in range(len(samples))], batches


@pytest.mark.parametrize(
    "max_tokens, temperature, raw", [(1, 1.0, False), (300, 0.7, False), (10**6, 1.0, False), (10**6, 1.0, True)]
)
def test_log_probabilities_are_those_of_the_plain_model(policy, samples, plain, max_tokens, temperature, raw):
    forbidden = policy.encoder.forbidden(policy.bias.numel())
    bias = torch.zeros(policy.bias.numel(), dtype=torch.float64)
    if not raw:
        bias[forbidden] = FORBIDDEN_BIAS
    ours, batches = run(policy, samples, max_tokens, temperature=temperature, raw=raw)
    assert len(batches) == {1: len(samples), 10**6: 1}.get(max_tokens, len(batches))
    for sample, logits, (logp, entropy) in zip(samples, plain, ours, strict=True):
        wanted = log_softmax(logits, bias, temperature)
        tokens = torch.tensor(sample.response_ids).long()
        assert logp.shape == tokens.shape
        torch.testing.assert_close(logp.double(), wanted[range(len(tokens)), tokens], atol=1e-5, rtol=1e-6)
        torch.testing.assert_close(entropy.double(), -(wanted.exp() * wanted).sum(-1), atol=1e-4, rtol=1e-5)


def test_tokens_that_may_not_be_sampled_have_no_probability(policy, samples, plain):
    names = [policy.encoder.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS if name != "<|im_end|>"]
    assert policy.bias[names].eq(FORBIDDEN_BIAS).all() and policy.bias[policy.encoder.eos] == 0
    assert policy.bias.eq(0).sum() == policy.bias.numel() - len(policy.encoder.forbidden(policy.bias.numel()))
    (_, _, _, (biased, _), *_), _ = run(policy, samples, 10**6, temperature=1.0)
    (_, _, _, (raw, _), *_), _ = run(policy, samples, 10**6, temperature=1.0, raw=True)
    assert samples[3].response_ids[2] in policy.encoder.forbidden(policy.bias.numel())
    assert biased[2] < -90 and raw[2] > -20  # so is a forbidden token that came in all the same: a number, no crash
    others = torch.arange(len(raw)) != 2
    mass = torch.softmax(plain[3].double(), -1)[:, policy.bias.eq(0)].sum(-1).log()
    torch.testing.assert_close((biased - raw)[others], -mass[others].float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_tokens", [1, 250, 600, 1000, 10**6])
def test_micro_batches_hold_every_sample_once_within_the_budget(policy, samples, max_tokens):
    batches = micro_batches(policy, samples, max_tokens)
    assert sorted(n for batch in batches for n in batch.index) == list(range(len(samples)))
    for batch in batches:
        chosen = [samples[n] for n in batch.index]
        assert batch.ids.numel() <= max_tokens or len(chosen) == 1
        assert batch.lengths == tuple(len(sample.response_ids) for sample in chosen)
        assert len(batch.images.tiles) == max(
            1, len({path for sample in chosen for path in sample.images})
        )  # each film once
        assert (batch.segments is not None) == policy.packed == (batch.mask is None)
        if policy.packed:
            prompts = {(sample.images, sample.prompt_ids.tobytes()): sample for sample in chosen}.values()
            assert batch.ids.numel() == sum(len(s.response_ids) - 1 for s in chosen) + sum(
                len(s.prompt_ids) for s in prompts
            )
            assert len(batch.images.order) == sum(len(sample.images) for sample in prompts)
        else:
            assert batch.ids.shape == (len(chosen), max(map(len, chosen)))
            assert batch.mask.sum(1).tolist() == list(map(len, chosen))
            assert len(batch.images.order) == sum(len(sample.images) for sample in chosen)


def test_chosen_samples_alone_are_cut_up(policy, samples):
    assert policy.cut(samples, [], 100) == []
    assert sorted(i for cut in policy.cut(samples, [6, 1, 4], 300) for i in cut) == [1, 4, 6]


def test_the_film_and_the_order_of_films_matter(policy, samples):
    first, second = samples[6], samples[7]
    swapped = Sample(first.prompt_ids, first.images[::-1], first.response_ids)
    other = Sample(second.prompt_ids, (second.images[0], samples[8].images[0]), second.response_ids)
    assert policy.encoder.film(first.images[0]).text == policy.encoder.film(first.images[1]).text
    for one, changed in ((first, swapped), (second, other)):
        (a, b), _ = run(policy, [one, changed], 10**6, temperature=1.0)
        assert (a[0] - b[0]).abs().max() > 1e-3


def test_gradients_are_those_of_the_plain_model(policy, samples, tiny_model):
    """Of log-probabilities and entropies, in every parameter; samples of two prompts in one batch."""
    index = [0, 10, 5, 9, 11]
    policy.zero_grad()
    batch = policy.collate(samples, index, CPU)
    logp, entropy = policy(batch, 0.7)
    (logp.sum() + 0.3 * (entropy**2).sum()).backward()
    model = AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=torch.float32)
    for sample, logits in zip(
        [samples[i] for i in index], logits_of(model, policy.encoder, [samples[i] for i in index]), strict=True
    ):
        wanted = log_softmax(logits, policy.bias, 0.7)
        entropy = -(wanted.exp() * wanted).sum(-1)
        (wanted[range(len(wanted)), sample.response_ids].sum() + 0.3 * (entropy**2).sum()).backward()
    for (name, ours), theirs in zip(policy.model.named_parameters(), model.parameters(), strict=True):
        assert theirs.grad.any(), name
        assert (ours.grad - theirs.grad).norm() < 1e-5 * theirs.grad.norm() + 1e-7, name
    policy.zero_grad()
    assert "bias" not in policy.state_dict()  # a checkpoint holds the model alone


def test_half_precision_differs_by_its_rounding(tiny_model, policy, samples, plain):
    half = Policy(tiny_model, policy.encoder, torch.bfloat16, packed=policy.packed)
    ours, _ = run(half, samples, 600, temperature=1.0, raw=True)
    for sample, logits, (logp, entropy) in zip(samples, plain, ours, strict=True):
        assert logp.dtype == entropy.dtype == torch.float32
        wanted = log_softmax(logits, 0, 1.0)[range(len(logits)), sample.response_ids]
        assert (logp - wanted).abs().max() < 0.15 and (logp - wanted).abs().mean() < 0.03
