import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.parts.answers import Unreadable, read_choice, read_letters, read_names, split_options

NAMES = {"A": "Edema", "B": "Pleural effusion, left", "C": "Mass"}


@pytest.mark.parametrize(
    "problem, question, options",
    [
        ("What is seen?\nA) Edema\nB) Mass", "What is seen?", {"A": "Edema", "B": "Mass"}),
        (
            "What is seen? Options: A. Edema, B. Large mass, C. None",
            "What is seen?",
            {"A": "Edema", "B": "Large mass", "C": "None"},
        ),
        (
            "What is seen?\n(A) It is wide. Very.\n(B) Mass\nAnswer with a letter.",
            "What is seen?\nAnswer with a letter.",
            {"A": "It is wide. Very.", "B": "Mass"},
        ),
        (
            "What is seen? A) Edema B) Mass\nC) Hernia D) None",
            "What is seen?",
            {"A": "Edema", "B": "Mass", "C": "Hernia", "D": "None"},
        ),
        ("Is there a lack of vitamin A. Look.", "Is there a lack of vitamin A. Look.", {}),
    ],
)
def test_options_are_read_from_the_problem(problem, question, options):
    assert split_options(problem) == (question, options)


@pytest.mark.parametrize(
    "problem",
    [
        "Which?\nA) x\nC) y",
        "Which?\nB) x\nA) y",
        "Which?\nA) x\nB) x",
        "Which?\nA) \nB) x",
        "Which? A) x B) y. Answer with a letter.",
        "Which?" + "".join(f"\n{letter}) {letter}{letter}" for letter in "ABCDEFGH"),
    ],
)
def test_unsure_options_are_refused(problem):
    with pytest.raises(Unreadable):
        split_options(problem)


@pytest.mark.parametrize(
    "answer, letters",
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B) Pleural effusion, left", "B"),
        ("pleural effusion, left", "B"),
        ("C, A", "AC"),
        ("A and C", "AC"),
        ("AC", "AC"),
        ("Edema, Mass", "AC"),
        ("A) Edema; C) Mass", "AC"),
    ],
)
def test_letters_of_an_answer(answer, letters):
    assert read_letters(answer, NAMES) == tuple(letters)


@pytest.mark.parametrize("answer", ["D", "A) Mass", "CA", "Hernia", "", "A, Hernia", "Answer: the second"])
def test_answers_that_are_no_option_are_refused(answer):
    with pytest.raises(Unreadable):
        read_letters(answer, NAMES)


@given(
    st.sets(st.sampled_from("ABC"), min_size=1),
    st.sampled_from(["{0}", "{0})", "({0})", "{0}.", "{1}", "{0}) {1}"]),
    st.sampled_from([", ", " and ", "; ", "\n"]),
)
def test_any_list_of_options_is_read(letters, form, between):
    options = NAMES | {"B": "Pleural effusion"}
    answer = between.join(form.format(letter, options[letter]) for letter in sorted(letters))
    assert read_letters(answer, options) == tuple(sorted(letters))


@pytest.mark.parametrize(
    "answer, names",
    [
        ("Edema, Pleural Effusion.", ("Edema", "Pleural Effusion")),
        ("Mass and edema", ("Mass", "edema")),
        ("edema; Edema", ("Edema",)),
        ("None", ()),
        ("No finding", ()),
        ("12", ("12",)),
    ],
)
def test_names_of_an_answer(answer, names):
    assert read_names(answer) == names


@pytest.mark.parametrize(
    "answer",
    [
        "It is shifted to the left",
        "Trauma, tumour, etc",
        "Not sure",
        "",
        "B",
        "Yes, left",
        "Wide. Very wide",
        "A long and winding description of what may be seen on such films",
    ],
)
def test_what_is_no_list_of_names_is_refused(answer):
    with pytest.raises(Unreadable):
        read_names(answer)


@pytest.mark.parametrize(
    "question, answer, options",
    [
        ("Which organ is abnormal, heart or lung?", "Lung", ["Heart", "Lung"]),
        ("Which modality is shown, MRI, CT or X-Ray?", "X-Ray", ["MRI", "CT", "X-Ray"]),
        ("Is this a solid or cystic lesion?", "cystic", ["Solid", "Cystic"]),
        ("Which organ is abnormal, heart or lung?", "Both", None),
        (
            "Is a pneumonia or pleural effusion seen?",
            "pleural effusion",
            None,
        ),  # "effusion" alone would be another option
        ("Is this an MRI, CT or X-ray?", "CT", None),
        ("Where is the nodule?", "Left", None),
    ],
)
def test_a_choice_is_read_from_the_question_only_where_it_is_sure(question, answer, options):
    found = read_choice(question, answer)
    assert (list(found.values()) if found else None) == options
