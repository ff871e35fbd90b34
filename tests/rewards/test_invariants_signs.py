"""What `strict` must never pay for where think blocks describe signs instead of naming findings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.labels.nih import FINDINGS
from rewards.findings.signs import load_signs
from tests.support.rewards.sign_words import OWN_WORDS
from tests.support.rewards.transcripts import MANY, RIGHT, WRONG, at_most, task_of, total, verdict_on

SIGNS = load_signs().signs
ALL_SIGNS = " ".join(seen for seen, _ in OWN_WORDS.values())
some_words = st.lists(
    st.sampled_from([text for pair in OWN_WORDS.values() for text in pair]), min_size=1, max_size=4
).map(" ".join)


def named(finding, is_present):
    return f"There is {'' if is_present else 'no '}{finding.lower()}."


@st.composite
def films(draw):
    """A closed task and the pairs of a reference whose think blocks name findings, describe signs, or both."""
    names = draw(st.lists(st.sampled_from(FINDINGS), min_size=2, max_size=4, unique=True))
    options = dict(zip("ABCD", names, strict=False))
    gold = draw(st.sampled_from(sorted(options)))
    pairs = []
    for letter, name in options.items():
        by_name = named(name, letter == gold)
        think = draw(st.sampled_from([by_name, f"{by_name} {draw(some_words)}", draw(some_words)]))
        pairs.append((think, f"{letter} {RIGHT if letter == gold else WRONG}"))
    pairs.append(("In sum.", gold))
    return task_of("closed", pairs, options=options, gold=(gold,)), pairs


@MANY
@given(films(), st.data())
def test_no_choice_of_signs_beats_the_reference(film, data):
    task, reference = film
    best = verdict_on(task, reference)
    assert (best.format, best.outcome, best.process) == (1, 1, 1) and best.reason in (0, pytest.approx(1))
    words = st.one_of(some_words, st.just(ALL_SIGNS), st.just(""))
    thinks = [f"{think if data.draw(st.booleans()) else ''} {data.draw(words)}".strip() for think, _ in reference[:-1]]
    pairs = [(think or "Look.", answer) for think, (_, answer) in zip(thinks, reference, strict=False)]
    assert at_most(total(task, [*pairs, reference[-1]]), best.total)


@pytest.mark.parametrize(
    "name, finding", [(name, finding) for name, sign in SIGNS.items() for finding in sign.findings]
)
@pytest.mark.parametrize("is_present", [True, False])
def test_a_right_paraphrase_is_paid_more_than_its_negation_and_less_than_the_name(name, finding, is_present):
    """Of the same task, without a reference: all that the think block on the finding should state is the gold."""
    other = "Scoliosis"
    options = {"A": finding, "B": other}
    task = task_of("closed", None, options=options, gold=("A" if is_present else "B",))

    def paid(think):
        marks = (RIGHT, WRONG) if is_present else (WRONG, RIGHT)
        steps = [(think, f"A {marks[0]}"), (named(other, not is_present), f"B {marks[1]}")]
        return total(task, [*steps, ("So.", task.gold[0])])

    seen, denied = OWN_WORDS[name]
    right, wrong = (seen, denied) if SIGNS[name].speaks_for == is_present else (denied, seen)
    assert paid(named(finding, is_present)) > paid(right) > paid(wrong)
    assert paid(named(finding, is_present)) >= paid(ALL_SIGNS)
    assert at_most(paid(f"{named(finding, is_present)} {ALL_SIGNS}"), paid(named(finding, is_present)))
