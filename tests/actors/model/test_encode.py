import json
import shutil
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.algorithm.advantage import step_of_token
from actors.model.encode import Encoder, PromptConfig
from actors.model.families.pixel_budget import PixelBudgetError
from actors.model.tiny_model import PLAIN_TOKENS, SPECIAL_TOKENS
from curriculum.images import ImageError
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import StepVerdict

SYSTEM = "Say what you see."
words = st.text(max_size=30) | st.lists(
    st.sampled_from([*PLAIN_TOKENS, "🫁", "A) ", "é", " ", "👩‍⚕️", "\n", "Effusion"])
).map("".join)
texts = words.map(lambda text: unicodedata.normalize("NFC", text)).filter(lambda text: "<|" not in text)


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig(system=SYSTEM))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 150), np.uint8)).save(path)
    return str(path)


def test_a_prompt_is_what_the_processor_makes_of_the_chat(encoder, phantom_tasks, wide):
    """Independent: the processor's own way from text and images to ids and patches."""
    for task in (
        phantom_tasks[1],
        phantom_tasks[3],
        phantom_tasks[2].model_copy(update={"images": (wide, phantom_tasks[2].images[0])}),
    ):
        question = task.question + "".join(f"\n{letter}) {text}" for letter, text in task.options.items())
        user = [*[{"type": "image"}] * len(task.images), {"type": "text", "text": question}]
        chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]
        text = encoder.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert SYSTEM in text and question in text
        films = [Image.open(path).convert("RGB") for path in task.images]
        wanted = encoder.processor(text=[text], images=films, return_tensors="np")
        ours = encoder.expand(task)
        assert ours.dtype == np.int32 and ours.tolist() == wanted["input_ids"][0].tolist()
        pixels = [encoder.film(path).pixels for path in task.images]
        for name in ("pixel_values", "image_grid_thw"):
            assert np.array_equal(np.concatenate([film[name] for film in pixels]), wanted[name])


def test_an_image_has_a_placeholder_for_each_of_its_features(encoder, phantom_tasks, wide):
    merged = encoder.processor.image_processor.merge_size**2
    for images in ((wide,), phantom_tasks[0].images, (phantom_tasks[0].images[0], wide, wide)):
        task = phantom_tasks[0].model_copy(update={"images": images})
        features = sum(len(encoder.film(path).pixels["pixel_values"]) // merged for path in images)
        assert (encoder.expand(task) == encoder.image_token).sum() == features
        assert encoder.prompt_ids(task).count(encoder.image_token) == len(images)


def test_an_image_that_is_not_there_is_named(encoder, phantom_tasks, tmp_path):
    with pytest.raises(ImageError, match="none.png"):
        encoder.expand(phantom_tasks[0].model_copy(update={"images": (str(tmp_path / "none.png"),)}))


@given(texts)
def test_a_response_comes_back_as_it_was_written(encoder, text):
    ids = encoder.response_ids(text)
    assert ids.dtype == np.int32 and ids[-1] == encoder.eos and (ids[:-1] != encoder.eos).all()
    back, ends = encoder.text_with_offsets(ids)
    assert back == text and len(ends) == len(ids) and ends.dtype == np.int32
    assert (np.diff(ends, prepend=0) >= 0).all() and ends[-1] == len(text)
    for count in range(len(ids)):  # what stands after each token, by the tokenizer's own decoder
        assert encoder.tokenizer.decode(ids[:count]).rstrip("\ufffd") == text[: ends[count - 1] if count else 0].rstrip(
            "\ufffd"
        )


@given(st.data())
def test_any_tokens_that_a_policy_may_sample_have_a_text(encoder, data):
    ids = np.array(data.draw(st.lists(st.integers(0, len(encoder.tokenizer) + 40), max_size=20)), np.int32)
    text, ends = encoder.text_with_offsets(ids)
    known = [token for token in ids.tolist() if token < len(encoder.tokenizer)]
    decoded = encoder.tokenizer.decode(known, skip_special_tokens=True)
    assert decoded.startswith(text) and not decoded[len(text) :].strip("\ufffd")  # a broken-off character
    assert (
        len(ends) == len(ids) and (np.diff(ends, prepend=0) >= 0).all() and (ends[-1] if len(ends) else 0) == len(text)
    )


def test_references_come_back_and_need_no_forbidden_token(encoder, phantom_tasks):
    forbidden = set(encoder.forbidden(len(encoder.tokenizer) + 8))
    for task in phantom_tasks:
        ids = encoder.response_ids(task.reference)
        text, ends = encoder.text_with_offsets(ids)
        assert text == task.reference and not forbidden & set(ids.tolist())
        steps = score(task, text, RewardConfig()).steps
        owners = step_of_token(ends, steps)
        assert owners[-1] == -1 and owners[:-1].tolist() == sorted(owners[:-1])
        assert set(owners[:-1]) == set(range(len(steps)))
        for number, span in enumerate(steps):  # tags are tokens of their own, so borders agree
            own = ids[owners == number]
            assert encoder.tokenizer.decode(own) == text[span.start : span.end]


def test_a_character_of_several_tokens_belongs_to_the_step_that_it_completes_in(encoder):
    first, second = "<think>🫁</think><answer>A) ✅</answer>", "<think>👩‍⚕️</think><answer>A</answer>"
    ids = encoder.response_ids(first + second)
    text, ends = encoder.text_with_offsets(ids)
    lung = [n for n in range(len(ids)) if ends[n] == 7] + [list(ends).index(8)]
    assert len(lung) > 2 and ends[lung[-1]] == 8  # <think> and the lung's unfinished bytes, then its last
    spans = [(0, len(first)), (len(first), len(text))]
    owners = step_of_token(ends, [StepVerdict(*span, None, "right", 1.0, "") for span in spans])
    border = owners.tolist().index(1)
    assert encoder.tokenizer.decode(ids[:border]) == first and encoder.tokenizer.decode(ids[border:-1]) == second


def test_forbidden_tokens(encoder):
    size = len(encoder.tokenizer) + 5
    forbidden = encoder.forbidden(size)
    named = [encoder.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS if name != "<|im_end|>"]
    assert sorted(forbidden) == sorted({*named, *range(len(encoder.tokenizer), size)})
    allowed = [encoder.eos, *(encoder.tokenizer.convert_tokens_to_ids(token) for token in PLAIN_TOKENS)]
    assert not set(allowed) & set(forbidden) and len(set(allowed)) == len(allowed)


@pytest.mark.parametrize("token", PLAIN_TOKENS)
def test_tags_and_marks_are_one_token_each(encoder, token):
    assert len(encoder.response_ids(f"x{token}y")) == 4


@pytest.mark.parametrize("size", [(900, 700), (150, 200), (30, 40)])
def test_films_of_any_size_keep_a_pixel_budget(tiny_model, tmp_path, size):
    """Independent: the processor of a folder whose file has the budget."""
    least, most = 20 * 28**2, 60 * 28**2
    shutil.copytree(tiny_model, tmp_path / "model")
    file = tmp_path / "model/processor_config.json"
    config = json.loads(file.read_text())
    config["image_processor"]["size"] = {"shortest_edge": least, "longest_edge": most}
    file.write_text(json.dumps(config))
    film = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    wanted = Encoder(tmp_path / "model", PromptConfig()).read(film)
    found = Encoder(tiny_model, PromptConfig(min_pixels=least, max_pixels=most)).read(film)
    assert found.text == wanted.text and 20 <= found.text.count("<|image_pad|>") <= 60
    assert all(np.array_equal(found.pixels[name], wanted.pixels[name]) for name in ("pixel_values", "image_grid_thw"))


@pytest.mark.parametrize(
    "budget, words",
    [
        ({"max_pixels": 9_000}, "12,544 pixels at least and 9,000 at most.* set both"),
        ({"min_pixels": 20_000}, "20,000 pixels at least and 12,544 at most.* set both"),
        ({"min_pixels": 1, "max_pixels": 783}, "model.max_pixels: 783 is too small; one token has 784 pixels"),
    ],
)
def test_a_pixel_budget_that_no_film_could_keep_is_refused(tiny_model, budget, words):
    with pytest.raises(PixelBudgetError, match=words):
        Encoder(tiny_model, PromptConfig(**budget))
