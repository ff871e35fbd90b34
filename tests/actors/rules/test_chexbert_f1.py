"""CheXbert-F1 as a rule, with a stand-in for the package, which downloads its model when it starts."""

import pytest

from actors.rules import ChexbertF1
from tests.support.rewards.packages import install, settings_of
from tests.support.rewards.reports import REPORT, answered

NAMES = [
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
]
FIVE = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]
MEANS = {"large": "Cardiomegaly", "nodule": "Lung Lesion", "edema": "Edema", "line": "Support Devices"}


@pytest.fixture
def labelled(monkeypatch, made):
    """The texts that the stand-in has labelled. It gives one of 0 and 1 for each condition, as the package does."""
    texts = []

    class F1CheXbert(settings_of(made)):
        target_names = NAMES
        target_names_5 = FIVE

        def get_label(self, report, mode="rrg"):
            texts.append(report)
            present = {MEANS[word] for word in MEANS if word in report}
            return [int(name in present) for name in NAMES]

    install(monkeypatch, "f1chexbert", F1CheXbert=F1CheXbert)
    return texts


@pytest.mark.parametrize(
    "answer, of_14, of_5",
    [
        ("A large heart.", 1, 1),
        ("A large heart, a nodule.", 2 / 3, 1),
        ("A large heart, edema.", 2 / 3, 2 / 3),
        ("Clear.", 0, 0),
        ("A line.", 0, 0),
    ],
)
def test_it_is_the_f1_of_the_conditions(labelled, answer, of_14, of_5):
    for conditions, value in ((14, of_14), (5, of_5)):
        rule = ChexbertF1(conditions=conditions, device="cpu")
        assert rule.score_batch(answered(answer)) == [pytest.approx(value)]


def test_two_texts_without_a_condition_agree(labelled):
    clear = REPORT.model_copy(update={"gold": ("The lungs are clear.",)})
    assert ChexbertF1(device="cpu").score_batch(answered("Clear.", "Edema: edema", task=clear)) == [1, 0]


def test_the_report_of_a_group_is_labelled_once(labelled, made):
    rule = ChexbertF1(device="cpu")
    labelled.clear()
    rule.score_batch(answered("Clear.", "A line.", "Clear."))
    assert labelled.count(REPORT.gold[0]) == 1 and len(labelled) == 4
    assert made[0].device == "cpu"


def test_a_package_that_fails_with_these_versions_stops_the_worker(labelled, monkeypatch):
    """As 0.0.2 does beside transformers 5: its tokenizer's method is gone."""
    import f1chexbert

    def fails(self, report):
        raise AttributeError("BertTokenizer has no attribute encode_plus")

    monkeypatch.setattr(f1chexbert.F1CheXbert, "get_label", fails)
    with pytest.raises(RuntimeError, match=r"f1chexbert fails: AttributeError: .*encode_plus; .*'transformers<5'"):
        ChexbertF1(device="cpu")


def test_another_number_of_conditions_is_refused():
    with pytest.raises(ValueError, match="conditions 6: 5 or 14 is needed"):
        ChexbertF1(conditions=6)
