import pytest
from pydantic import ValidationError

from curriculum.task import Task


def closed(**changes):
    fields = dict(
        id="t",
        domain="closed",
        family="single_choice",
        question="Which?",
        images=("x.png",),
        options={"A": "Mass", "B": "Edema"},
        gold=("B",),
    )
    return Task(**(fields | changes))


def test_a_wrong_option_may_have_its_reason():
    assert closed(why_wrong={"A": "labelled absent"}).why_wrong == {"A": "labelled absent"} and closed().why_wrong == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"gold": ("C",)},
        {"gold": ()},
        {"gold": ("B", "B")},
        {"options": {"A": "Mass", "C": "Edema"}},
        {"options": {}},
        {"domain": "open"},
        {"captions": ("prior", "current")},
        {"captions": ("",)},
        {"question": ""},
        {"extra": 1},
        {"why_wrong": {"B": "labelled absent"}},
        {"why_wrong": {"C": "labelled absent"}},
    ],
)
def test_task_refuses_a_gold_or_options_that_do_not_fit(changes):
    with pytest.raises(ValidationError):
        closed(**changes)


def test_what_is_asked_says_what_each_image_is():
    assert closed().asked == "Which?\nA) Mass\nB) Edema"
    told = closed(images=("x.png", "y.png"), captions=("prior film", "current film"))
    assert told.asked == "Image 1: prior film\nImage 2: current film\nWhich?\nA) Mass\nB) Edema"
    known = closed(
        images=("x.png", "y.png"), captions=("prior film", "current film"), context="Prior report: no edema."
    )
    assert known.asked == told.asked.replace("Which?", "Prior report: no edema.\nWhich?")
    assert closed(images=()).asked == closed().asked  # a question without a film


def test_chance_of_each_form():
    assert closed().chance == 1 / 2
    assert closed(family="multiple_choice").chance == 1 / 3


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"options": {"A": "Yes", "B": "Yes"}}, "options A and B are both 'Yes'; they must differ"),
        ({"options": {"A": "Yes", "B": "yes. "}}, "options A and B are both"),
        ({"options": {"A": "Ｙｅｓ", "B": "Yes"}}, "options A and B are both"),
        ({"options": {"A": "", "B": "Yes"}}, "option A has no text"),
        ({"options": {"A": "Yes", "B": " "}}, "option B has no text"),
        ({"options": {"A": "Yes", "B": "nan"}}, "option B has no text, found 'nan'"),
        ({"options": {"A": "Yes", "B": "XXXX"}}, "option B has no text"),
        ({"patient": "nan"}, "a missing value that was written as text; leave it empty"),
        ({"view": "NaN"}, "a missing value"),
        ({"context": "null"}, "a missing value"),
        ({"reference": "nan"}, "a missing value"),
        ({"question": "<NA>"}, "a missing value"),
        ({"question": "half \ud83d"}, "half a character"),
        ({"images": ("half-\udcff.png",)}, "half a character"),
    ],
)
def test_texts_that_say_nothing_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        closed(**changes)


@pytest.mark.parametrize("gold", ["nan", "NaN", "null", "N/A", "XXXX", "___", "", " ", "None", "none"])
def test_a_name_that_says_nothing_is_no_gold(gold):
    open_ = dict(domain="open", options={})
    with pytest.raises(ValidationError, match="says nothing|is no name"):
        closed(gold=(gold,), **open_)
    assert closed(gold=(), **open_).gold == ()
    assert closed(options={"A": "None", "B": "Edema"}, gold=("A",)).gold == ("A",)
