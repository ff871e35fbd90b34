import pytest

from actors.rules import BertScore
from actors.rules.bert_scorer import BertScorer
from tests.support.models.classifier import save_encoder
from tests.support.rewards.reports import REPORT, answered

ANSWERS = ("No effusion.", "The heart is large. No effusion.", "Clear lungs.", "effusion " * 500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_encoder(tmp_path_factory.mktemp("encoder"), train=False))


@pytest.mark.parametrize("part", ["f1", "precision", "recall"])
def test_it_pays_the_number_of_the_evaluation(folder, part):
    expected = BertScorer(folder, 1)([(answer, REPORT.gold[0]) for answer in ANSWERS])[f"bertscore_{part}"]
    values = BertScore(path=folder, layer=1, part=part, device="cpu").score_batch(answered(*ANSWERS))
    assert values == pytest.approx(list(expected.clip(0, 1)), abs=1e-6)
    assert values[1] == pytest.approx(1) and min(values) < 0.99


def test_it_is_the_number_of_the_published_package(folder):
    """The package is compared where it is installed. It has no number for an empty answer under transformers 5."""
    published = pytest.importorskip("bert_score", reason="bert-score is not installed")
    scorer = published.BERTScorer(model_type=folder, num_layers=2, device="cpu", use_fast_tokenizer=True)
    scorer._tokenizer.model_max_length = 94
    _, _, f1 = scorer.score(list(ANSWERS[:3]), [REPORT.gold[0]] * 3)
    values = BertScore(path=folder, layer=2, device="cpu").score_batch(answered(*ANSWERS[:3]))
    assert values == pytest.approx(f1.tolist(), abs=1e-5)


def test_a_baseline_is_worth_nothing_and_one_stays_one(folder):
    plain = BertScore(path=folder, device="cpu").score_batch(answered(*ANSWERS))
    low = sorted(plain)[1]
    spread = BertScore(path=folder, baseline=low, device="cpu").score_batch(answered(*ANSWERS))
    assert spread == pytest.approx([max(0, (value - low) / (1 - low)) for value in plain], abs=1e-6)
    assert min(spread) == 0 and max(spread) == pytest.approx(1)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"path": "/nowhere"}, "no such folder"),
        ({"part": "f2"}, "part f2: f1, precision or recall"),
        ({"baseline": 1}, "baseline 1: a number from 0"),
        ({"layer": 9}, "layer 9: the model has the layers 1 to 2"),
        ({"device": "tpu"}, "device tpu"),
    ],
)
def test_an_option_that_does_not_fit_is_told(folder, options, reason):
    with pytest.raises(ValueError, match=reason):
        BertScore(**{"path": folder, **options})
