import pytest

from curriculum.forms import DEFAULT_FORM, FORMS

OPTIONS = {"A": "Mass", "B": "Edema"}


def test_the_default_form_of_a_domain_is_one_of_its_forms():
    assert {domain: FORMS[form].domain for domain, form in DEFAULT_FORM.items()} == {"closed": "closed", "open": "open"}


@pytest.mark.parametrize(
    "form, gold, options",
    [
        ("letters", ["B"], OPTIONS),
        ("letters", ["A", "B"], OPTIONS),
        ("names", [], {}),
        ("names", ["Edema", "an unknown name"], {}),
        ("text", ["Clear lungs."], {}),
        ("boxes", ["[1, 2, 3, 4]", "[100, 200, 300, 400]"], {}),
    ],
)
def test_a_gold_of_its_form(form, gold, options):
    FORMS[form].check(gold, options)


@pytest.mark.parametrize(
    "form, gold, options, reason",
    [
        ("letters", ["C"], OPTIONS, "not among the options"),
        ("letters", [], OPTIONS, "not among the options"),
        ("text", [], {}, "one gold text, found 0"),
        ("text", ["Clear.", "Normal."], {}, "one gold text, found 2"),
        ("boxes", [], {}, "is not a box"),
        ("boxes", ["[3, 2, 1, 4]"], {}, "is not a box"),
        ("boxes", ["on the left"], {}, "is not a box"),
    ],
)
def test_a_gold_of_another_form_is_refused(form, gold, options, reason):
    with pytest.raises(ValueError, match=reason):
        FORMS[form].check(gold, options)
