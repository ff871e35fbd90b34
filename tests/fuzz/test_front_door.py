"""One line, exit code 2 (over HTTP a 4xx), no trace, nothing left behind; whatever the input holds."""

import os

import pytest

from actors.model.encode import PromptConfig
from actors.model.folder.judge import judge
from tests.fuzz.corpus import Corpus
from tests.fuzz.targets import TARGETS, fuzz

SECONDS = float(os.environ.get("FUZZ_SECONDS", 0))  # for all targets; `make fuzz` sets it
SHARES = sum(target.share for target in TARGETS)


@pytest.fixture(scope="session")
def corpus(clean_set, tiny_model):
    """What inputs are made from. The libraries are imported before the clock of a visit runs."""
    folder, rows = clean_set
    judge(tiny_model, PromptConfig())
    return Corpus(folder, rows, tiny_model)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_comes_in_is_received_in_order(target, corpus, capsys):
    tried = fuzz(target, corpus, SECONDS * target.share / SHARES or None)
    if SECONDS:
        with capsys.disabled():
            print(f"\n{target.name}: {tried} inputs")
