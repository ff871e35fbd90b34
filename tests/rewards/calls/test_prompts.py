import pytest

from rewards.calls.prompts import fence, gold_words, prompt_template
from tests.support.task_sets import finding, question


def test_a_template_may_use_the_names_that_there_are():
    assert prompt_template("{{ gold }}!\n", ("gold",)).render(gold="A") == "A!\n"


@pytest.mark.parametrize(
    "source, reason",
    [("{{ gold", "no jinja2 template"), ("{{ golds }}", "no such name as golds; it may use gold, task")],
)
def test_another_is_refused(source, reason):
    with pytest.raises(ValueError, match=reason):
        prompt_template(source, ("gold", "task"))


def test_the_gold_is_told_with_its_text():
    assert gold_words(question("q")) == "A) Yes" and gold_words(finding("f", "Edema", "Mass")) == "Edema, Mass"
    assert gold_words(finding("f")) == "No finding"


def test_a_fence_depends_on_task_and_text():
    one, two = question("one"), question("two")
    assert len({fence(one, "a"), fence(one, "b"), fence(two, "a"), fence(one, "half \ud83d")}) == 4
