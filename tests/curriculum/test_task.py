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
