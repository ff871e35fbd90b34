import pytest
import torch
from safetensors.torch import load_file

from actors.model import tiny_vision
from actors.model.tiny_model import TinyModelConfig, make_tiny_model

SMALL = dict(image_size=28, hidden=32, layers=1, vision_hidden=32, vision_layers=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "curlvpr"


@pytest.fixture
def make(tmp_path, monkeypatch):
    practised = []
    train = tiny_vision._practise
    monkeypatch.setattr(tiny_vision, "_practise", lambda *args: practised.append(args[3]) or train(*args))

    def make(**config):
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        make_tiny_model(TinyModelConfig(**SMALL, **config), ["Which finding is seen?"] * 3, folder)
        return load_file(folder / "model.safetensors")

    make.practised = practised
    return make


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_tower_is_trained_once_for_its_settings(cache, make):
    first, second = make(vision_steps=2), make(vision_steps=2)
    assert make.practised == [2] and equal(first, second)
    assert not equal(first, make(vision_steps=2, seed=1))
    assert not equal(first, make(vision_steps=3))
    assert make.practised == [2, 2, 3]
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_file_of_the_cache_is_made_again(cache, make):
    first = make(vision_steps=2)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert equal(first, make(vision_steps=2)) and equal(first, make(vision_steps=2))
    assert make.practised == [2, 2]


@pytest.mark.parametrize("place", ["a file", "relative"])
def test_without_a_place_for_the_cache_every_call_trains(place, tmp_path, monkeypatch, make):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken") if place == "a file" else "taken")
    assert equal(make(vision_steps=2), make(vision_steps=2))
    assert make.practised == [2, 2]


def test_what_takes_long_is_told(cache, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(tiny_vision, "_practise", lambda *_: None)
    for _ in range(2):
        config = TinyModelConfig(**SMALL, vision_steps=tiny_vision.LONG_STEPS)
        make_tiny_model(config, ["Effusion"] * 3, tmp_path / "model", said.append)
    assert len(said) == 1 and "vision tower" in said[0]
