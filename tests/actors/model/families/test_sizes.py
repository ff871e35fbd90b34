"""What is known of every family's models and films before a model is loaded: tokens, pixels, parameters."""

import re
import shutil

import pytest
from PIL import Image

from actors.model.check_tokens import FittingSettings, TokenBudget, check_tokens
from actors.model.encode import Encoder, PromptConfig
from cluster.config.recipe import ModelConfig
from cluster.planning.model_shape import shape_of
from curriculum.taskset import TaskRow
from tests.support.models.tiny_families import MAKERS, family


@pytest.mark.parametrize("name", [name for name in MAKERS if family(name).reads_images])
def test_prompt_lengths_are_known_beforehand(name, policy_of, tasks):
    """Without reading a film's pixels. Gemma's tokenizer joins line breaks at an image's edges: it may be fewer."""
    encoder = policy_of(name).encoder
    rows = [
        TaskRow(n, task.id, task, [], tuple(Image.open(path).size for path in task.images))
        for n, task in enumerate(tasks)
    ]
    list(check_tokens(rows, encoder, TokenBudget(1024, 256, frozenset(), frozenset())))
    for row in rows:
        assert not row.faults and 0 <= row.prompt_tokens - len(encoder.expand(row.task)) <= (
            3 if name.startswith("gemma") else 0
        )


@pytest.mark.parametrize("name", [name for name in MAKERS if family(name).has_pixel_budget])
def test_films_keep_a_pixel_budget(name, folder_of, tasks):
    """In pixels of the film, however often the processor counts them; so does `plan`, and so do values that fit."""
    folder, token = folder_of(name), Encoder(folder_of(name), PromptConfig()).token_pixels
    encoder = Encoder(folder, PromptConfig(min_pixels=25 * token, max_pixels=64 * token))
    films = [encoder.read(Image.new("RGB", (side, side))).text for side in (30, 900)]
    assert [film.count(encoder.processor.image_token) for film in films] == [25, 64]
    assert shape_of(ModelConfig(path=folder, max_pixels=64 * token)).image_tokens == 64
    room = len(encoder.expand(tasks[0])) - 10
    budget = TokenBudget(room + 100, 100, frozenset({tasks[0].family}), frozenset())
    row = TaskRow(0, "film", tasks[0], [], tuple(Image.open(path).size for path in tasks[0].images))
    fitting = FittingSettings(Encoder(folder, PromptConfig(min_pixels=token, max_pixels=64 * token)), budget)
    list(fitting.counted(check_tokens([row], encoder, budget)))
    fits = int(re.search(r"model.max_pixels=(\d+)", fitting.words())[1])
    assert len(Encoder(folder, PromptConfig(min_pixels=token, max_pixels=fits)).expand(tasks[0])) <= room


@pytest.mark.parametrize("name", MAKERS)
def test_the_shape_of_a_model_is_known_without_its_weights(name, folder_of, policy_of, tasks, tmp_path):
    """Its parameters, the KV cache of a token, and the tokens of the largest film that its processor makes."""
    for file in folder_of(name).iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    shape, policy = shape_of(ModelConfig(path=tmp_path)), policy_of(name)
    assert shape.parameters == policy.model.num_parameters() == shape_of(ModelConfig(path=folder_of(name))).parameters
    assert shape.trained == sum(value.numel() for value in policy.model.parameters() if value.requires_grad)
    keys = {"qwen3_5": 32, "gemma4": 32 + 64, "gemma4 large": 2 * 32 + 64}.get(name, 2 * 32)  # of all layers
    assert shape.kv_bytes_per_token(4) == 2 * keys * 4 and shape.vocabulary == policy.bias.numel()
    assert shape.state_bytes == (4 * (2 * 128 * 128 + 3 * 512) if name == "qwen3_5" else 0)
    assert shape.tied == policy.model.config.tie_word_embeddings
    if shape.vision.layers:
        largest = policy.encoder.read(Image.new("RGB", (112, 160) if name.startswith("gemma4") else (112, 112)))
        tokens = policy.encoder.tokenizer(largest.text, add_special_tokens=False).input_ids
        assert shape.vision.layers == 2 and shape.image_tokens == tokens.count(policy.encoder.image_token)
        assert shape.vision.hidden == 64
        assert shape.vision.intermediate == {"qwen2_vl": 4 * 64, "glm4v": 64}.get(name, 96)
    else:
        assert shape.image_tokens == 0 and not policy.encoder.family.reads_images
