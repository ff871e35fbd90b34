import sys
from types import SimpleNamespace

import pytest
import torch

from actors.rules.loading import (
    check_device,
    check_model_folder,
    choose_device,
    gpu_number,
    load_package,
    load_tokenizer,
    longest_input,
    using,
)
from tests.support.models.classifier import save_tokenizer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package with this source."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source):
        (tmp_path / "some_metric.py").write_text(source)
        sys.modules.pop("some_metric", None)

    yield make
    sys.modules.pop("some_metric", None)


@pytest.mark.parametrize(
    "source, reason",
    [
        (None, "the package some_metric is not installed: pip install some-metric"),
        ("import not_there_at_all", "needs not_there_at_all, which is not installed; .*pip: some-metric"),
        ("from json import nothing", "cannot be used beside the other packages .*runtime_env with pip: some-metric"),
        ("raise RuntimeError('two\\nlines')", r"beside the other packages \(two lines\); give"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_in_one_line(package, source, reason):
    if source:
        package(source)
    with pytest.raises(ImportError, match=reason) as caught:
        load_package("some_metric", "some-metric")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_there_is_loaded(package):
    package("ANSWER = 42")
    assert load_package("some_metric", "some-metric").ANSWER == 42


def test_a_package_that_fails_is_named_in_one_line():
    line = r"^the package a-b fails: KeyError: 'x'; .* runtime_env with pip: a-b==1$"
    with pytest.raises(RuntimeError, match=line), using("a-b", "a-b==1"):
        {}["x"]
    with using("a-b", "a-b==1"):
        pass


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no such folder"):
        check_model_folder(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"it has no config\.json"):
        check_model_folder(str(tmp_path))


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda0", "", "auto:1", "CPU"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="auto, cpu, cuda or cuda:N is needed"):
        check_device(device)


@pytest.mark.parametrize(
    "has_gpu, asked, chosen, number",
    [
        (False, "auto", "cpu", -1),
        (False, "cpu", "cpu", -1),
        (True, "auto", "cuda", 0),
        (True, "cpu", "cpu", -1),
        (True, "cuda", "cuda", 0),
        (True, "cuda:2", "cuda:2", 2),
        (False, "cuda", None, None),
        (False, "cuda:1", None, None),
    ],
)
def test_the_device(monkeypatch, has_gpu, asked, chosen, number):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    if chosen is None:
        with pytest.raises(ValueError, match="this process has no GPU; give the rule gpus: 1"):
            choose_device(asked)
    else:
        assert choose_device(asked) == chosen and gpu_number(chosen) == number


@pytest.mark.parametrize(
    "told, positions, longest",
    [(512, 514, 512), (10**30, 514, 512), (10**30, None, 512), (131072, 32768, 32768), (512, None, 512)],
)
def test_the_longest_input(told, positions, longest):
    config = SimpleNamespace(max_position_embeddings=positions)
    assert longest_input(SimpleNamespace(model_max_length=told), config) == longest


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    """transformers makes an empty tokenizer of a model's config alone, for which every text would be the same."""
    (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": 50}')
    with pytest.raises(ValueError, match="it holds no tokenizer"):
        load_tokenizer(tmp_path)
    save_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path, padding_side="left").padding_side == "left"
