import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from actors.model.tiny_model import PLAIN_TOKENS, SPECIAL_TOKENS, TinyModelConfig, make_tiny_model

SMALL = dict(image_size=28, hidden=32, layers=1, vision_hidden=32, vision_layers=1)
TEXTS = ["Which finding is seen?", "Effusion on the left"] * 3


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    return lambda **config: make_tiny_model(
        TinyModelConfig(**SMALL, **config), TEXTS, tmp_path_factory.mktemp("tiny") / "model"
    )


def test_the_same_seed_gives_the_same_model_and_practice_changes_the_tower_alone(make):
    fresh, again, seeded, trained = (
        load_file(make(**config) / "model.safetensors")
        for config in (dict(vision_steps=0), dict(vision_steps=0), dict(vision_steps=0, seed=1), dict(vision_steps=1))
    )
    assert all(torch.equal(value, again[name]) for name, value in fresh.items())
    assert not torch.equal(fresh["lm_head.weight"], seeded["lm_head.weight"])
    changed = {name for name, value in fresh.items() if not torch.equal(value, trained[name])}
    assert changed and all("visual" in name for name in changed)


def test_words_and_tags_are_single_tokens(make):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make(vision_steps=0))
    for token in (*PLAIN_TOKENS, *SPECIAL_TOKENS, "system", " user", " assistant", " finding", "Effusion"):
        assert len(tokenizer(token).input_ids) == 1, token


@pytest.mark.parametrize(
    ("setting", "value"), [("image_size", 100), ("hidden", 40), ("layers", 0), ("vision_steps", -1), ("width", 3)]
)
def test_sizes_that_no_model_has_are_refused(setting, value):
    with pytest.raises(ValidationError, match=setting):
        TinyModelConfig(**{setting: value})
