"""The reward model against direct calls of transformers, on tiny models with trained and with random weights."""

import logging
import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from actors.rules import RewardModel
from rewards.custom_rules import check_own
from tests.support.models.classifier import save_decoder, save_encoder
from tests.support.rewards.reports import REPORT, given
from tests.support.rewards.responses import pairs

CHAT = "{% for m in messages %}[CLS] {{ m.content }} [SEP]{% endfor %}"
RESPONSES = [
    pairs("a large effusion ."),
    pairs("no mass ."),
    pairs("the lungs are clear . the heart is large .", think="so it is ."),
    "effusion",
    "",
    pairs("edema") * 3,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def two_labels(tmp_path_factory):
    names = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    return save_encoder(tmp_path_factory.mktemp("two"), labels=2, **names)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("decoder"), CHAT)


def logits_of(folder, *texts, **settings):
    """What transformers gives for one text, or one pair, alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(*([text] for text in texts), return_tensors="pt", **settings)).logits[0]


def scored(model, responses=RESPONSES):
    return model.score_batch([given(response) for response in responses])


def test_it_prefers_what_it_has_learnt_to_prefer(folder):
    effusion, mass = scored(RewardModel(path=str(folder)), RESPONSES[:2])
    assert effusion > 0.8 and mass < 0.2


def test_the_value_is_the_sigmoid_of_the_output_for_question_and_response(folder):
    for response, value in zip(RESPONSES, scored(RewardModel(path=str(folder))), strict=True):
        assert value == pytest.approx(logits_of(folder, REPORT.asked, response).sigmoid().item(), abs=1e-6)


def test_a_decoder_reads_what_its_chat_template_makes(decoder):
    values = scored(RewardModel(path=str(decoder)))
    assert max(values) - min(values) > 0.01
    for response, value in zip(RESPONSES, values, strict=True):
        text = f"[CLS] {REPORT.asked} [SEP][CLS] {response} [SEP]"
        logits = logits_of(decoder, text, add_special_tokens=False)
        assert value == pytest.approx(logits.sigmoid().item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["folder", "decoder"])
def test_a_value_does_not_depend_on_its_batch(kind, request):
    path = str(request.getfixturevalue(kind))
    alone = scored(RewardModel(path=path, batch_size=1))
    for size in (2, 3, 16):
        assert scored(RewardModel(path=path, batch_size=size)) == pytest.approx(alone, abs=1e-6)
    assert scored(RewardModel(path=path), RESPONSES[::-1]) == pytest.approx(alone[::-1], abs=1e-6)


def test_it_gives_the_same_again(folder):
    assert scored(RewardModel(path=str(folder))) == scored(RewardModel(path=str(folder)))


@pytest.mark.parametrize("label", ["good", 1])
def test_the_probability_of_a_label(two_labels, label):
    values = scored(RewardModel(path=str(two_labels), label=label))
    assert values[0] > 0.8 and values[1] < 0.2
    for response, value in zip(RESPONSES, values, strict=True):
        expected = logits_of(two_labels, REPORT.asked, response).softmax(-1)[1]
        assert value == pytest.approx(expected.item(), abs=1e-6)


def test_the_labels_of_a_multi_label_model_do_not_compete(tmp_path):
    folder = save_encoder(tmp_path, labels=3, train=False, problem_type="multi_label_classification")
    for response, value in zip(RESPONSES, scored(RewardModel(path=str(folder), label=2)), strict=True):
        expected = logits_of(folder, REPORT.asked, response)[2].sigmoid()
        assert value == pytest.approx(expected.item(), abs=1e-6)


def test_limits_map_the_output(folder):
    outputs = [logits_of(folder, REPORT.asked, response).item() for response in RESPONSES]
    low, high = sorted(outputs)[1], sorted(outputs)[-2]
    values = scored(RewardModel(path=str(folder), limits=[low, high]))
    for output, value in zip(outputs, values, strict=True):
        assert value == pytest.approx(min(1, max(0, (output - low) / (high - low))), abs=1e-5)
    assert {0.0, 1.0} <= set(values)
    lower_is_better = scored(RewardModel(path=str(folder), limits=[high, low]))
    assert lower_is_better == pytest.approx([1 - value for value in values], abs=1e-5)


def test_a_template_says_what_is_read(folder):
    model = RewardModel(path=str(folder), template="{{ answer }}, {{ question }}")
    expected = logits_of(folder, f"no mass ., {REPORT.asked}").sigmoid().item()
    assert scored(model, [pairs("edema", "no mass .")]) == [pytest.approx(expected, abs=1e-6)]


def test_a_long_text_loses_its_beginning_and_the_log_says_so(folder, caplog):
    model = RewardModel(path=str(folder), max_tokens=12, template="{{ response }}")
    end = "large effusion , left . so it is ."
    long = f"{'no mass . ' * 9}a {end}"
    fits = f"no {end}"  # ten tokens, and the two at its ends
    with caplog.at_level(logging.WARNING):
        values = scored(model, [long, fits])
    for read, value in zip((f"a {end}", fits), values, strict=True):
        assert value == pytest.approx(logits_of(folder, read).sigmoid().item(), abs=1e-6)
    assert values[0] != values[1]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "1 of 2 texts had more than 12 tokens; the beginning was cut off"
    ]


def test_a_response_beyond_all_bounds_is_judged(folder):
    for value in scored(RewardModel(path=str(folder)), ["effusion " * 20_000, "[SEP]" * 20_000, "\x00\ud7ff ❌"]):
        assert 0 <= value <= 1


def test_without_a_padding_token_each_text_is_judged_alone(decoder, tmp_path):
    folder = shutil.copytree(decoder, tmp_path / "unpadded")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    model = RewardModel(path=str(folder))
    assert model.batch_size == 1
    assert scored(model) == pytest.approx(scored(RewardModel(path=str(decoder))), abs=1e-6)


def test_a_response_that_cannot_be_judged_hurts_no_other(folder):
    model = RewardModel(path=str(folder), template="{{ 1 / (response | length) }} {{ response }}")
    values = scored(model)
    assert isinstance(values[4], ZeroDivisionError)
    assert all(0 <= value <= 1 for place, value in enumerate(values) if place != 4)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"label": 0}, "has a single label"),
        ({"max_tokens": 97}, "takes 8 to 96|takes 8 to 94"),
        ({"max_tokens": 2}, "takes 8 to"),
        ({"device": "tpu"}, "device tpu: auto, cpu"),
        ({"dtype": "int8"}, "dtype int8: float32, bfloat16 or float16"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"limits": [1, 1]}, "two different outputs"),
        ({"limits": [1]}, "two different outputs"),
        ({"template": "{{ prompt }}"}, "template: prompt is unknown"),
    ],
)
def test_an_option_that_does_not_fit_is_told_in_one_line(folder, options, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        RewardModel(path=str(folder), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({}, r"label: none is given; .* has bad, good \(numbers 0 to 1\)"),
        ({"label": 2}, "label 2: there is none such"),
        ({"label": "best"}, "label best: there is none such"),
        ({"label": "good", "limits": [0, 1]}, "has 2 labels; give label instead"),
    ],
)
def test_a_model_of_several_labels_needs_one_of_them(two_labels, options, reason):
    with pytest.raises(ValueError, match=reason):
        RewardModel(path=str(two_labels), **options)


def spoilt(folder, target, drop=()):
    shutil.copytree(folder, target)
    for name in drop:
        (target / name).unlink(missing_ok=True)
    return target


def test_a_folder_without_weights_or_tokenizer_is_told_in_one_line(folder, tmp_path):
    tokens = ("tokenizer.json", "tokenizer_config.json", "words.txt", "special_tokens_map.json")
    cases = {
        "it holds no tokenizer": spoilt(folder, tmp_path / "mute", tokens),
        "it holds no classifier": spoilt(folder, tmp_path / "empty", ["model.safetensors"]),
        "no such folder": tmp_path / "nowhere",
    }
    for reason, path in cases.items():
        with pytest.raises(ValueError, match=reason) as caught:
            RewardModel(path=str(path))
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_an_encoder_that_was_never_trained_as_a_classifier_is_refused(folder, tmp_path):
    from transformers import BertModel

    path = spoilt(folder, tmp_path / "encoder")
    BertModel.from_pretrained(folder).save_pretrained(path)
    with pytest.raises(ValueError, match=r"its weights lack classifier\.bias, classifier\.weight"):
        RewardModel(path=str(path))


def test_a_recipe_is_checked_before_a_model_is_loaded(folder):
    from rewards.config import OwnRule

    def own(**options):
        return {"liked": OwnRule(rule="actors.rules:RewardModel", weight=0.1, options=options)}

    check_own(own(path=str(folder), batch_size=4))
    for options, reason in (
        ({}, "missing a required.*path"),
        ({"path": "/nowhere"}, "no such folder"),
        ({"path": str(folder), "batchsize": 4}, "batchsize"),
    ):
        with pytest.raises(ValueError, match=rf"^reward\.rules\.own\.liked: rule actors\.rules:RewardModel.*{reason}"):
            check_own(own(**options))
