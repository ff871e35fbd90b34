import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.task import OPTION_LETTERS
from rewards.reading.answers import read_findings, read_marks, read_options, split_names

YES_NO = {"A": "Yes", "B": "No"}
NAMES = {"A": "Edema", "B": "No finding", "C": "Pleural Thickening", "D": "No", "E": "Mass"}


@pytest.mark.parametrize(
    "answer, text, marks",
    [
        ("A) ✅", "A)", [True]),
        ("❌ Mass", "Mass", [False]),
        ("A ✔️", "A", [True]),
        ("A", "A", []),
        ("", "", []),
        ("A ✅ ❌", "A", [True, False]),
        ("✅✅", "", [True, True]),
        ("✓☑✖✗✘", "", [True, True, False, False, False]),
    ],
)
def test_marks(answer, text, marks):
    assert read_marks(answer) == (text, marks)


@pytest.mark.parametrize(
    "answer, letters",
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B)", "B"),
        ("[b]", "B"),
        ("{B}", "B"),
        (" B. ", "B"),
        ("Ｂ", "B"),
        ("**B**", "B"),
        ("Answer: B", "B"),
        ("The final answer is B.", "B"),
        ("answer = (b)", "B"),
        ("Options: A, C", "AC"),
        ("Choice B", "B"),
        (r"\boxed{B}", "B"),
        ("- B", "B"),
        ("• B", "B"),
        ("A, C", "AC"),
        ("C and A", "AC"),
        ("A; B / C & D", "ABCD"),
        ("A\nC", "AC"),
        ("A, and C", "AC"),
        ("A, A", "A"),
        ("A) Edema", "A"),
        ("A: edema", "A"),
        ("A - Edema", "A"),
        ("A,", "A"),
        (",A", "A"),
        ("edema", "A"),
        ("Ⓑ", "B"),
        ("（Ｂ）", "B"),
        (r"$\boxed{\text{B}}$", "B"),
        ("“B”", "B"),
        ("B is correct.", "B"),
        ("It's B", "B"),
        ("I choose option B", "B"),
        ("oedema", "A"),
        ("pulmonary edema and thickened pleura", "AC"),
        ("C) thickened pleura", "C"),
        ("A, masses", "AE"),
        ("none", "B"),
        ("normal", "B"),
        ("Edema, Pleural  thickening", "AC"),
        ("A) Edema, C) Pleural Thickening", "AC"),
        ("No finding", "B"),
        ("No", "D"),
        ("No, Mass", "DE"),
        ("b) no finding and E", "BE"),
    ],
)
def test_readable_options(answer, letters):
    assert read_options(answer, NAMES) == tuple(letters)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "F",
        "BA",
        "C A",
        "Abnormal",
        "B) Edema",
        "A) Mass",
        "A or B",
        "not A",
        "A mass",
        "Maybe B",
        "A, F",
        "A, Hernia",
        "Edematous",
        "AEdema",
        "Answer",
        "Answer:",
        "Yes",
        "I see A",
        "A) Edema is not seen",
        "A1",
        "1",
        "?",
        "A) enlarged heart",
        "A because of the mass",
        "Because",
        "ABD",
        "Cardiomegaly",
        "A, not B",
    ],
)
def test_what_cannot_be_read_surely_is_not_guessed(answer):
    assert read_options(answer, NAMES) is None


@pytest.mark.parametrize(
    "answer, letters",
    [
        ("yes", "A"),
        ("NO.", "B"),
        ("A) Yes", "A"),
        ("A) No", None),
        ("Yes, no", None),
        ("Yes it is", "A"),
        ("Nope", "B"),
        ("Yes!", "A"),
        ("y", "A"),
        ("True", "A"),
        ("not present", "B"),
        ("The answer is no", "B"),
        ("Yes, there is an effusion.", "A"),
        ("No, there isn't.", "B"),
        ("No evidence of effusion", "B"),
        ("No, there is no effusion", "B"),
        ("Yes, there is no effusion", None),
        ("No, the effusion is present", None),
        ("Yes, possibly", None),
        ("Yes, it is not", None),
        ("Effusion", None),
        ("B) Nope", "B"),
        ("A, D", None),
        ("A, C and D", None),
        ("A, so", None),
        ("Yesterday", None),
        ("None", None),
    ],
)
def test_yes_and_no(answer, letters):
    assert read_options(answer, YES_NO) == (letters and tuple(letters))


@given(
    st.sets(st.sampled_from(list(NAMES)), min_size=1),
    st.randoms(use_true_random=False),
    st.sampled_from([", ", " and ", "\n"]),
    st.sampled_from(["{0}", "{0})", "({0})", "{0}) {1}", "{1}"]),
)
def test_any_set_of_options_in_any_order_is_read(letters, random, between, form):
    order = sorted(letters)
    random.shuffle(order)
    assert read_options(between.join(form.format(o, NAMES[o]) for o in order), NAMES) == tuple(sorted(letters))


@given(st.text(max_size=40) | st.lists(st.sampled_from([*"ABE), -(/", "and", "Answer", "Edema", "\n"])).map("".join))
def test_any_text_gives_options_or_none(answer):
    read = read_options(answer, NAMES)
    assert read is None or (read and list(read) == sorted(set(read)) and set(read) <= set(NAMES))


@pytest.mark.parametrize(
    "answer",
    [
        "answer{0}zz",
        "The answer is{0}zz",
        "-{0}zz",
        "A{0}-{0}zz",
        "A){0}Pleural{0}zz",
        "A{0}zz",
        "Pleural{0}zz",
        "A,{0}zz",
        "A{1}zz",
        "answer:{0}({0}zz",
    ],
)
def test_long_runs_are_read_to_the_end(answer):
    assert read_options(answer.format(" " * 3000, ")" * 3000), NAMES) is None  # a cubic pattern would not come back


def test_as_many_options_as_a_task_may_have():
    options = {letter: f"Finding {letter}" for letter in OPTION_LETTERS}
    assert read_options(", ".join(options.values()), options) == tuple(options)


@pytest.mark.parametrize(
    "answer, names",
    [
        ("Mass, Edema", ["Mass", "Edema"]),
        ("Mass and Edema", ["Mass", "Edema"]),
        ("Mass; Edema / Hernia & Nodule", ["Mass", "Edema", "Hernia", "Nodule"]),
        ("Findings: Mass, Edema.", ["Mass", "Edema"]),
        ("Final diagnosis: Mass", ["Mass"]),
        ("1. Mass\n2) Edema", ["Mass", "Edema"]),
        ("- Mass\n* Edema\n• Hernia", ["Mass", "Edema", "Hernia"]),
        ("[Mass, (Edema)]", ["Mass", "Edema"]),
        ("**Mass**, Edema", ["Mass", "Edema"]),
        ("Candida, Sandstorm", ["Candida", "Sandstorm"]),
        ("Mass - left", ["Mass - left"]),
        ('["Mass", "Edema"]', ["Mass", "Edema"]),
        ("1. Mass 2. Edema", ["Mass", "Edema"]),
        ("Mass + Edema、Hernia", ["Mass", "Edema", "Hernia"]),
        ("The most likely diagnosis is Mass", ["Mass"]),
        ("Findings include mass and edema.", ["mass", "edema"]),
        ("Mass ✅, Edema ❌", ["Mass ✅", "Edema ❌"]),
        (r"\boxed{Mass}", ["Mass"]),
        ("Mass, Mass", ["Mass", "Mass"]),
        ("", []),
        (" , ; and\n", []),
    ],
)
def test_names_of_a_list(answer, names):
    assert split_names(answer) == names


@given(st.text())
def test_names_of_any_text_are_stripped_and_not_empty(text):
    assert all(name and name == name.strip() for name in split_names(text))


@pytest.mark.parametrize(
    "answer, findings",
    [
        ("Edema, Mass", ("Edema", "Mass")),
        ("pulmonary oedema & masses", ("Edema", "Mass")),
        ("Edema, edema", ("Edema",)),
        ("No finding", ()),
        ("normal", ()),
        ("Final diagnoses:\n1. Edema\n2. Mass", ("Edema", "Mass")),
        ("Edema ✅, Mass ❌", ("Edema",)),
        ("✅ Edema", ("Edema",)),
        ("Mass ❌", ()),
        ("Edema, no pleural effusions", ("Edema",)),
        ("No effusion", ()),
        ("effusion has resolved", ()),
        ("enlarged cardiac silhouette", ("Cardiomegaly",)),
        ("small right pleural effusion", ("Effusion",)),
        ("Edema, cannot exclude pneumonia", ("Edema",)),
        ("Unicorn", ("unicorn",)),
        ("Edema, Unicorn", ("Edema", "unicorn")),
        ("Edema, No finding", None),
        ("Edema ✅, Edema ❌", None),
        ("Edema, no edema", None),
        ("Edema ✅❌", None),
        ("", None),
        (",;", None),
        ("possible pneumonia", None),
        ("No finding ❌", None),
    ],
)
def test_findings_that_a_list_asserts(answer, findings):
    assert read_findings(answer) == findings


@given(
    st.text()
    | st.lists(st.sampled_from(["Edema", "no ", "✅", "❌", ", ", " and ", "Mass", "normal", ":", "\n"])).map("".join)
)
def test_findings_of_any_text(answer):
    found = read_findings(answer)
    assert found is None or list(found) == sorted(set(found))
