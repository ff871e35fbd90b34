"""Every family of models: what the learner computes, against transformers' own forward and against vLLM.

Starting an engine for each takes minutes in all. By default pytest starts those of `IN_EVERY_RUN`; the others are
marked `slow`, and `pytest -m "slow or not slow" tests/actors/model/families/test_families.py` runs all.
"""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file

from actors.learner.sft_update import SftUpdate
from actors.model.check_tokens import TokenBudget, check_tokens
from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.families import FAMILIES, UnsupportedModel
from actors.model.lora import adapt
from actors.model.model_parts import is_embedding, layer_of, part_of
from actors.model.policy import Policy
from actors.rollout.config import RolloutConfig
from actors.rollout.probe import HALF_TOLERANCE
from actors.rollout.vllm_engine import VllmEngine
from actors.trajectory import Sample
from actors.weights.buckets import bucket_of, files_of
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.run.launch import start
from cluster.run.prepare import check_images
from curriculum.taskset import TaskRow, write_tasks
from tests.support.learner.ranks import ENTIRELY
from tests.support.models.tiny_families import MAKERS, UNREAD, family
from tests.support.short_run import SHORT, SMOKE

CPU = torch.device("cpu")
IN_EVERY_RUN = ("qwen3_vl", "idefics3")
PADDED = ("gemma3", "gemma4", "gemma4 large", "qwen3_5")


def samples_of(encoder, tasks):
    return [
        Sample(encoder.expand(task), task.images, encoder.response_ids(task.reference))
        for task in tasks
        if can_ask(encoder, task)
    ]


def can_ask(encoder, task):
    return encoder.family.reads_images or not task.images


def logprobs(policy, samples):
    """All in one batch, in the order of the samples."""
    batch = policy.collate(samples, range(len(samples)), CPU)
    with torch.no_grad():
        values = policy(batch, 1.0, True)[0].split(batch.lengths)
    return [values[batch.index.index(n)].numpy() for n in range(len(samples))]


def plain(folder, encoder, task, response):
    """Independent: prompt ids and log-probabilities by the processor's and the model's own way, for one task."""
    processor, sees = encoder.processor, encoder.family.reads_images
    films = [Image.open(path).convert("RGB") for path in task.images]
    text = encoder.prompt_text(task)
    given = dict(images=films) if films else {}
    inputs = dict(processor(text=[text], add_special_tokens=False, return_tensors="pt", **given))
    prompt, ids = inputs["input_ids"][0], torch.tensor(response).long()
    inputs |= {
        name: torch.cat([inputs[name], torch.full((1, len(ids)), fill)], 1)
        for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", 0))
        if name in inputs
    }
    model = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]].load(folder, torch.float32)
    kept = {name: value for name, value in inputs.items() if sees or name == "attention_mask"}
    with torch.no_grad():
        logits = model(**kept | {"input_ids": torch.cat([prompt, ids])[None]}).logits[0, len(prompt) - 1 : -1]
        logits[:, model.generation_config.suppress_tokens or []] = -torch.inf
    return prompt.numpy(), torch.log_softmax(logits, -1)[range(len(ids)), ids].numpy()


@pytest.mark.parametrize("name", MAKERS)
def test_log_probabilities_are_those_of_the_plain_model(name, folder_of, policy_of, tasks):
    policy = policy_of(name)
    asked = [task for task in tasks if can_ask(policy.encoder, task)]
    samples = samples_of(policy.encoder, tasks)
    ours = logprobs(policy, samples)
    for task, sample, got in zip(asked, samples, ours, strict=True):
        prompt, wanted = plain(folder_of(name), policy.encoder, task, sample.response_ids)
        assert sample.prompt_ids.tolist() == prompt.tolist(), task.id
        assert np.abs(got - wanted).max() < 1e-5, task.id
    if policy.encoder.family.reads_images:
        assert np.abs(ours[0] - ours[1]).max() > 1e-3, "the film makes no difference"


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_is_its_samples(name, folder_of, policy_of, tasks):
    """Log-probabilities and the gradient of every weight: all samples packed (padded, if the family cannot be
    packed) against one at a time, which is a plain forward. Two are responses to the same prompt."""
    policy = policy_of(name)
    assert policy.packed == (name not in PADDED)
    samples = samples_of(policy.encoder, tasks)
    samples.append(replace(samples[0], response_ids=samples[-1].response_ids))
    alone = Policy(folder_of(name), policy.encoder, torch.float32, packed=False)
    padded = logprobs(alone, samples)
    for ours, plain in zip(logprobs(policy, samples), padded, strict=True):
        assert np.abs(ours - plain).max() < 1e-5
    whole = policy.collate(samples, range(len(samples)), CPU)
    assert whole.ids.shape[0] == (1 if policy.packed else len(samples))
    policy(whole, 0.7)[0].sum().backward()
    for n in range(len(samples)):
        alone(alone.collate(samples, [n], CPU), 0.7)[0].sum().backward()
    wanted = {key: value.grad for key, value in alone.model.named_parameters()}
    norm = max(value.norm() for value in wanted.values() if value is not None)
    for key, value in policy.model.named_parameters():
        assert (value.grad is None) == (wanted[key] is None), key
        assert value.grad is None or (value.grad - wanted[key]).norm() < 1e-5 * norm, key
    policy.zero_grad()


@pytest.mark.parametrize("name", MAKERS)
def test_the_parts_of_a_model_are_known_by_their_names(name, policy_of):
    """What is no layer, no vision tower and no projector is the embedding, the last norm, or the head."""
    model, family = policy_of(name).model, policy_of(name).encoder.family
    names = [key for key, _ in model.named_parameters()]
    assert {layer_of(key) for key in names} == {None, *range(model.config.get_text_config().num_hidden_layers)}
    parts = {"language", *(("vision", "projector") if family.reads_images else ())}
    assert {part_of(key) for key, value in model.named_parameters() if value.requires_grad} == parts
    assert all((part_of(key) is None) != value.requires_grad for key, value in model.named_parameters())
    rest = [key for key in names if part_of(key) == "language" and layer_of(key) is None]
    of_layers = 3 if name == "gemma4" else 0  # an embedding of each layer, with its projection and norm
    assert len(rest) == 2 + of_layers + (not model.config.tie_word_embeddings), rest
    assert sum(map(is_embedding, rest)) == (2 if of_layers else 1), rest


@pytest.mark.parametrize("name", MAKERS)
def test_weights_travel_by_the_names_of_their_folder_and_come_back(name, folder_of, policy_of, tasks, tmp_path):
    policy = policy_of(name)
    state = policy.state()
    sent = {}
    for part in policy.parts(2**14):
        bucket = load(b"".join(bucket_of(policy.published(part))))
        assert not bucket.keys() & sent.keys()
        sent |= bucket
    stored = load_file(folder_of(name) / "model.safetensors")
    stored = {key: value for key, value in stored.items() if key not in UNREAD.get(name, {})}
    assert sent.keys() == stored.keys() and all(torch.equal(value, stored[key]) for key, value in sent.items())
    assert any("lm_head" in key for key in sent) != policy.model.config.tie_word_embeddings
    other = Policy(folder_of(name), policy.encoder, torch.float32)
    moved = {key: value + 0.01 for key, value in state.items()}
    other.load_state(moved)
    assert all(torch.equal(value, moved[key]) for key, value in other.state().items())
    with pytest.raises(RuntimeError, match="missing"):
        other.load_state(dict(list(state.items())[1:]))
    other.model.save_pretrained(tmp_path, state_dict=other.state())
    policy.encoder.processor.save_pretrained(tmp_path)
    again = Policy(tmp_path, Encoder(tmp_path, PromptConfig()), torch.float32)
    samples = samples_of(policy.encoder, tasks)
    assert all(map(np.array_equal, logprobs(again, samples), logprobs(other, samples)))


@pytest.mark.parametrize("name", MAKERS)
def test_a_response_comes_back_as_it_was_written(name, policy_of, phantom_tasks):
    encoder = policy_of(name).encoder
    forbidden = set(encoder.forbidden(policy_of(name).bias.numel()))
    for text in (phantom_tasks[0].reference, " <think> é 🫁\n\n</think>", "Nothing  here\n", "ok ✅▁"):
        ids = encoder.response_ids(text)
        back, ends = encoder.text_with_offsets(ids)
        if name.startswith("gemma") or name == "llama":  # "▁" is how their tokenizers write a space
            text = text.replace("▁", " ")
        if name == "llama":  # and this one's a text's first
            text = text.removeprefix(" ")
        assert back == text and ends[-1] == len(text) and ids[-1] == encoder.eos and not forbidden & set(ids.tolist())
        assert encoder.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_an_unknown_type_of_model_is_named(folder_of, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mllama", "architectures": ["X"]}))
    with pytest.raises(UnsupportedModel, match="'mllama' cannot be trained; those of type qwen2_vl, .* llama can"):
        Encoder(tmp_path, PromptConfig())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow) for name in MAKERS],
)
def test_the_engine_has_the_learners_numbers(name, folder_of, tasks):
    """For every prompt, before and after an update of all weights; it reads the prompts as the learner does.

    In families that have one, with a pixel budget: films have other numbers of tokens than by the folder's processor.
    Linear attention is computed in bfloat16 alone, and both sides round at other places: there the mean counts.
    """
    dtype, measure, most = "float32", "largest", 1e-5
    if family(name).linear_attention:
        dtype, measure, most = "bfloat16", "mean", HALF_TOLERANCE
    prompt = PromptConfig(min_pixels=40**2, max_pixels=80**2) if family(name).has_pixel_budget else PromptConfig()
    policy = Policy(folder_of(name), Encoder(folder_of(name), prompt), getattr(torch, dtype))
    asked = [task for task in tasks if can_ask(policy.encoder, task)]
    if name in ("gemma3", "gemma4 large"):  # see the test below
        asked = asked[-1:]
    images = max(len(task.images) for task in asked)

    def probe():
        samples = samples_of(policy.encoder, asked)
        return list(zip(asked, samples, logprobs(policy, samples), strict=True))

    async def differences():
        config = RolloutConfig(max_model_tokens=1024, dtype=dtype)
        engine = VllmEngine(config, str(folder_of(name)), policy.encoder, images)
        try:
            first = getattr(await engine.compare(probe()), measure)
            with torch.no_grad():
                for parameter in policy.model.parameters():
                    parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
            stale = getattr(await engine.compare(probe()), measure)
            await engine.load(files_of(bucket_of(policy.published(part)) for part in policy.parts(2**14)), "0.1")
            return first, stale, getattr(await engine.compare(probe()), measure)
        finally:
            engine.llm.shutdown()

    first, stale, updated = asyncio.run(differences())
    assert first < most and updated < most and stale > max(1e-2, 2 * most)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow)
        for name in MAKERS
        if family(name).adapters_alone
    ],
)
def test_the_engine_has_the_learners_numbers_by_adapters_alone(name, folder_of, tasks):
    """In every part that the family says, and of the version that came last."""
    policy = Policy(folder_of(name), Encoder(folder_of(name), PromptConfig()), torch.float32)
    parts = {part_of(layer) for layer, module in policy.model.named_modules() if isinstance(module, torch.nn.Linear)}
    lora = Lora(rank=4, alpha=6, targets=tuple(sorted(family(name).adapters_alone & parts)))
    adapt(policy.model, lora)
    asked = [task for task in tasks if can_ask(policy.encoder, task)]
    if name in ("gemma3", "gemma4 large"):
        asked = asked[-1:]
    images = max(len(task.images) for task in asked)
    drawn = torch.Generator().manual_seed(2)

    def probe():
        samples = samples_of(policy.encoder, asked)
        return list(zip(asked, samples, logprobs(policy, samples), strict=True))

    async def differences():
        engine = VllmEngine(
            RolloutConfig(max_model_tokens=1024), str(folder_of(name)), policy.encoder, images, lora=lora
        )
        found = []
        try:
            for version in ("0.1", "0.2"):
                for parameter in filter(lambda p: p.requires_grad, policy.model.parameters()):
                    parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
                if found:
                    found.append((await engine.compare(probe())).largest)
                sent = [policy.published(part) for part in policy.parts(2**12, adapters_alone=True)]
                await engine.load(files_of(map(bucket_of, sent)), version)
                found.append((await engine.compare(probe())).largest)
            return found
        finally:
            engine.llm.shutdown()

    first, stale, updated = asyncio.run(differences())
    assert first < 1e-5 and updated < 1e-5 and stale > 1e-2


def test_what_an_engine_cannot_read_is_refused_before_it_starts(folder_of, policy_of, tasks):
    on_cpu, on_gpu = RolloutConfig(), RolloutConfig(gpus=1)
    with pytest.raises(ValueError, match="causal attention on a CPU"):
        VllmEngine(on_cpu, str(folder_of("gemma3")), policy_of("gemma3").encoder, 1)
    with pytest.raises(UserError, match="--model: .*gemma3.*causal attention on a CPU.*give the rollout workers GPUs"):
        check_images(folder_of("gemma3"), "--model", True, on_cpu)
    with pytest.raises(UserError, match="--model: .*qwen2.*reads text only"):
        check_images(folder_of("qwen2"), "--model", True, on_gpu)
    with pytest.raises(UserError, match="--model: .*qwen3_5.*in bfloat16 alone .rollout.dtype.*; give the rollout"):
        check_images(folder_of("qwen3_5"), "--model", False, on_cpu)
    for name in ("gemma3", "gemma4 large", "qwen3_5"):
        check_images(folder_of(name), "--model", True, on_gpu)
    for name, rollout in (("gemma4", on_cpu), ("qwen3_5", RolloutConfig(dtype="bfloat16"))):
        check_images(folder_of(name), "--model", True, rollout)
    for name in ("gemma3", "gemma4 large", "qwen2"):
        check_images(folder_of(name), "--model", False, on_cpu)
    with pytest.raises(ValueError, match="'one film' has images; the model reads text only"):
        policy_of("llama").encoder.prompt_ids(tasks[0])
    rows = [TaskRow(number, task.id, task, []) for number, task in enumerate(tasks)]
    list(check_tokens(rows, policy_of("llama").encoder, TokenBudget(1024, 256, frozenset(), frozenset())))
    assert [[fault.kind for fault in row.faults] for row in rows] == [["image"]] * 5 + [[]]
    assert rows[-1].prompt_tokens == len(policy_of("llama").encoder.expand(tasks[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2_vl", "smolvlm", "llava_onevision", "qwen2"])
def test_a_whole_run(name, ray_session, folder_of, phantom_tasks, tmp_path, capsys):
    """Every stage; the model card's own lines load what was trained."""
    sees = family(name).reads_images
    data = write_tasks(
        [task if sees else task.model_copy(update={"images": ()}) for task in phantom_tasks], tmp_path / "data"
    )
    recipe = load_recipe(
        SMOKE,
        [
            "data.phantoms=null",
            f"data.tasks={data}",
            "model.tiny=null",
            f"model.path={folder_of(name)}",
            "rollout.max_model_tokens=640",
            *(setting for setting in SHORT if not setting.startswith(("data", "model"))),
        ],
    )
    assert start(recipe, tmp_path / "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == ["sft", "closed", "open"]
    code = (tmp_path / "run" / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    film = phantom_tasks[0].images[0]
    exec(code.replace('"model"', repr(str(tmp_path / "run" / "model"))).replace('"film.png"', repr(film)), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_step_of_sharded_ranks_is_that_of_one(name, one, two, folder_of, tasks):
    """ZeRO-3, every weight sharded; one micro-batch has films, another none. Image newlines and tied heads count."""
    told, gradients = [], []
    asked = [task for task in tasks if family(name).reads_images or not task.images] * 2
    for world, config in ((one, dict(zero_stage=0)), (two, dict(zero_stage=3, micro_batch_tokens=1))):
        world = replace(world, model=str(folder_of(name)))
        world.make(zero=ENTIRELY if config["zero_stage"] else {}, **config)
        told.append(world.update(SftUpdate(asked, 1e-3)))
        gradients.append(world.first("last_gradients"))
    assert told[1]["loss"] == pytest.approx(told[0]["loss"], rel=1e-5) and gradients[0].keys() == gradients[1].keys()
    off = sum(np.square(value - gradients[1][key]).sum() for key, value in gradients[0].items())
    assert off**0.5 < 1e-5 * told[0]["grad_norm"]
