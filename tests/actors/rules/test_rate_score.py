"""RaTEScore as a rule, with a stand-in for the package, which needs older versions of numpy than the tests."""

import pytest
import torch

from actors.rules import RateScore
from rewards.custom_rules import RuleFault
from tests.support.rewards.packages import install, settings_of
from tests.support.rewards.reports import REPORT, answered, recall


@pytest.fixture
def package(monkeypatch, made):
    """As the package does, it leaves out texts of fewer than three characters, and gives 0.5 without an entity."""

    class RaTEScore(settings_of(made)):
        def compute_score(self, candidate_list, reference_list):
            candidates, references = ([t for t in texts if len(t) > 2] for texts in (candidate_list, reference_list))
            pairs = zip(candidates, references, strict=False)
            return [recall(*pair) if "hello" not in pair[0] else 0.5 for pair in pairs]

    install(monkeypatch, "RaTEScore", RaTEScore=RaTEScore)


def test_a_text_that_the_package_leaves_out_does_not_shift_the_others(package):
    answers = ("No.", "OK", "No effusion.", "The heart is large.", REPORT.gold[0])
    first, left_out, *rest = RateScore(device="cpu").score_batch(answered(*answers))
    assert (first, *rest) == pytest.approx((1 / 6, 2 / 6, 4 / 6, 1))
    assert isinstance(left_out, RuleFault) and "no sentence" in str(left_out)


def test_an_answer_without_an_entity_does_not_get_the_half_that_the_package_gives(package):
    nothing, right = RateScore(device="cpu").score_batch(answered("hello", REPORT.gold[0]))
    assert isinstance(nothing, RuleFault) and "no entity" in str(nothing)
    assert right == 1


def test_the_package_gets_models_matrix_and_device(package, made, monkeypatch):
    RateScore(ner_model="/ner", synonym_model="/same", matrix="short", batch_size=4, device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    RateScore()
    assert [vars(settings) for settings in made] == [
        {
            "args": (),
            "bert_model": "/ner",
            "eval_model": "/same",
            "affinity_matrix": "short",
            "batch_size": 4,
            "use_gpu": False,
        },
        {"args": (), "affinity_matrix": "long", "batch_size": 16, "use_gpu": True},
    ]


def test_the_number_of_a_gpu_is_refused():
    with pytest.raises(ValueError, match="device cuda:1: auto, cpu or cuda is needed"):
        RateScore(device="cuda:1")
