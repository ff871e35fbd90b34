"""RadGraph-F1 as a rule, with a stand-in for the package, which downloads its model when it starts."""

import sys

import pytest

from actors.rules import RadgraphF1
from tests.support.rewards.packages import install, per_pair, settings_of
from tests.support.rewards.reports import answered


@pytest.fixture
def radgraph(monkeypatch, made):
    class F1RadGraph(settings_of(made)):
        def __call__(self, refs, hyps):
            values = per_pair(hyps, refs)
            return sum(values) / len(values), values, ["annotations"], ["annotations"]

    install(monkeypatch, "radgraph", F1RadGraph=F1RadGraph)


def test_the_answer_is_the_hypothesis(radgraph):
    assert RadgraphF1(device="cpu").score_batch(answered("No effusion.", "The heart is large. No effusion.")) == [
        2 / 6,
        1,
    ]


def test_the_package_gets_level_model_folder_and_device(radgraph, made):
    RadgraphF1(level="complete", model="radgraph", cache="/models", device="cpu")
    RadgraphF1(device="cpu")
    assert [vars(settings) for settings in made] == [
        {"args": (), "reward_level": "complete", "model_type": "radgraph", "model_cache_dir": "/models", "cuda": -1},
        {"args": (), "reward_level": "partial", "model_type": "radgraph-xl", "model_cache_dir": None, "cuda": -1},
    ]


def test_a_wrong_level_or_a_missing_package_is_told(monkeypatch):
    with pytest.raises(ValueError, match="level all: simple, partial or complete is needed"):
        RadgraphF1(level="all")
    monkeypatch.setitem(sys.modules, "radgraph", None)  # as if it were not installed
    with pytest.raises(ImportError, match="the package radgraph .*pip.* radgraph"):
        RadgraphF1()
