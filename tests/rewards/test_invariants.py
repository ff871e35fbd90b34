"""What `strict` must never pay for, over generated tasks, references, transcripts and mutations of them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curriculum.importers.labels.nih import FINDINGS
from curriculum.task import NO_FINDING
from tests.support.rewards.transcripts import (
    MANY,
    RIGHT,
    WRONG,
    at_most,
    closed,
    everything_rejected,
    marked_by,
    opened,
    task_of,
    tasks,
    total,
    transcripts,
    verdict_on,
)


@MANY
@given(tasks(), st.data())
def test_no_transcript_beats_the_reference(drawn, data):
    task, reference = drawn
    best = verdict_on(task, reference)
    assert (best.format, best.outcome, best.process) == (1, 1, 1) and best.reason in (0, pytest.approx(1))
    assert at_most(total(task, data.draw(transcripts(task, reference))), best.total)


OPTIONS = {"A": "Mass", "B": "Edema", "C": "Effusion"}
STEPS = [("No mass.", f"A {WRONG}"), ("Edema.", f"B {RIGHT}"), ("No effusion.", f"C {WRONG}"), ("So.", "B")]
NAMED = [("Look.", "Edema, Mass"), ("Edema.", f"Edema {RIGHT}"), ("No mass.", f"Mass {WRONG}"), ("So.", "Edema")]
SICK = ("Edema",)


@pytest.mark.parametrize(
    "gold, reference, better",
    [
        # a reference that errs in a think block, or takes back what it said
        (None, [STEPS[0], ("Edema and a mass.", f"B {RIGHT}"), *STEPS[2:]], STEPS),
        (None, [STEPS[0], ("Edema. No edema. No effusion.", f"B {RIGHT}"), *STEPS[2:]], STEPS),
        (None, [("No mass, no edema.", f"A {WRONG}"), *STEPS[1:]], STEPS),
        (SICK, [NAMED[0], ("Edema and a mass.", f"Edema {RIGHT}"), *NAMED[2:]], NAMED),
        # one that judges some options alone, or none, or repeats itself in the end
        (None, [STEPS[0], STEPS[1], STEPS[3]], STEPS),
        (None, [STEPS[1], STEPS[3]], STEPS),
        (None, STEPS[3:], STEPS),
        (None, [*STEPS[:3], STEPS[1]], STEPS),
        (None, [("Look.", answer) for _, answer in STEPS], STEPS),
        # one that weighs many candidates
        (
            SICK,
            [
                ("Look.", ", ".join(FINDINGS)),
                *(("Look.", f"{name} {RIGHT if name in SICK else WRONG}") for name in FINDINGS),
                ("So.", "Edema"),
            ],
            NAMED,
        ),
        # a gold in other words
        (
            ("Small left pulmonary edema",),
            [("Look.", "Pulmonary edema, Mass"), ("Edema.", f"Pulmonary oedema {RIGHT}"), *NAMED[2:]],
            NAMED,
        ),
        (
            ("Left lower lobe pneumonia",),
            [
                ("Look.", "Left lower lobe pneumonia"),
                ("Look.", f"Left lower lobe pneumonia {RIGHT}"),
                ("So.", "Left lower lobe pneumonia"),
            ],
            [("So.", "Pneumonia")],
        ),
        (
            ("Bent rib sign",),
            [("Look.", "Bent rib sign"), ("Look.", f"Bent rib sign {RIGHT}"), ("So.", "Bent rib sign")],
            NAMED,
        ),
        # a healthy film
        (
            (NO_FINDING,),
            [NAMED[0], ("No edema.", f"Edema {WRONG}"), NAMED[2], ("So.", NO_FINDING)],
            [("So.", "normal")],
        ),
        (
            (),
            [("Look.", f"{NO_FINDING}, Mass"), ("Clear.", f"{NO_FINDING} {RIGHT}"), NAMED[2], ("So.", NO_FINDING)],
            [("So.", "normal")],
        ),
        (SICK, [("Look.", f"{NO_FINDING}, Edema"), ("Not clear.", f"{NO_FINDING} {WRONG}"), NAMED[1], NAMED[3]], NAMED),
    ],
)
def test_an_odd_reference_is_not_beaten(gold, reference, better):
    fields = {"options": OPTIONS, "gold": ("B",)} if gold is None else {"gold": gold}
    task = task_of("closed" if gold is None else "open", reference, **fields)
    best = verdict_on(task, reference)
    assert best.outcome == 1 and best.process == (len(reference) > 1)
    assert {step.judgement for step in best.steps} == {"right"}
    assert at_most(total(task, better), best.total)


def right_steps(task, pairs):
    """Places of the right steps before the summary."""
    verdict = verdict_on(task, pairs)
    offset = len(pairs) - len(verdict.steps)  # an open response of two pairs has no verdict on its list
    return [offset + n for n, step in enumerate(verdict.steps[:-1]) if step.judgement == "right" and step.candidate]


@st.composite
def with_transcript(draw):
    task, reference = draw(tasks(draw(st.booleans())))
    return task, draw(transcripts(task, reference))


@MANY
@given(with_transcript(), st.data())
def test_dropping_a_right_step_never_pays(drawn, data):
    task, pairs = drawn
    at = data.draw(st.sampled_from(right_steps(task, pairs) or [None]))
    assume(at is not None)
    assert at_most(total(task, pairs[:at] + pairs[at + 1 :]), total(task, pairs))


@MANY
@given(with_transcript(), st.data())
def test_doubling_a_pair_never_pays(drawn, data):
    task, pairs = drawn
    at = data.draw(st.integers(0, len(pairs) - 1))
    to = data.draw(st.integers(at, len(pairs) - 1))  # behind itself, before the summary
    assert at_most(total(task, [*pairs[:to], pairs[at], *pairs[to:]]), total(task, pairs))


@pytest.mark.parametrize(
    "task, pairs",
    [
        (
            task_of("closed", None, options={"A": "Mass", "B": "Edema"}, gold=("B",)),
            [("No mass.", f"A {WRONG}"), ("Edema.", f"B {RIGHT}")],
        ),
        (
            task_of("open", None, gold=("Edema",)),
            [("Look.", "Edema, Mass"), ("No mass.", f"Mass {WRONG}"), ("Edema.", f"Edema {RIGHT}")],
        ),
        (task_of("open", None, gold=("Edema",)), [("Look.", "Edema"), ("Edema.", f"Edema {RIGHT}")]),
        (task_of("open", None, gold=("Edema",)), [("Edema.", f"Edema {RIGHT}")]),
    ],
)
def test_doubling_a_summary_that_could_be_a_step_never_pays(task, pairs):
    assert at_most(total(task, [*pairs, pairs[-1]]), total(task, pairs))
    assert at_most(total(task, [*pairs, pairs[-1], pairs[-1]]), total(task, pairs))


@MANY
@given(with_transcript(), st.data())
def test_the_order_of_steps_never_pays(drawn, data):
    task, pairs = drawn
    head = 1 if task.domain == "open" else 0
    assume(len(pairs) > head + 2)
    steps = data.draw(st.permutations(pairs[head:-1]))
    assert total(task, [*pairs[:head], *steps, pairs[-1]]) == pytest.approx(total(task, pairs))


def negated(think):
    """The opposite of each sentence, as a copy with "no" and "not" put in or taken out has it."""
    flips = {
        "is enlarged": "is not enlarged",
        "is normal in size": "is enlarged",
        "is seen": "is not seen",
        "is not seen": "is seen",
        "There is no": "There is",
        "There is": "There is no",
        "No ": "There is ",
        "without": "with",
        "Small": "No small",
        "Findings consistent": "Findings not consistent",
        "Pleural fluid": "No pleural fluid",
        "Pulmonary": "No pulmonary",
    }

    def flip(sentence):
        for old, new in flips.items():
            if old in sentence:
                return sentence.replace(old, new, 1)
        return "It is not so: " + sentence

    return ". ".join(flip(sentence) for sentence in think.removesuffix(".").split(". ")) + "."


def replaced(pairs, at, think=None, answer=None):
    return [
        *pairs[:at],
        (pairs[at][0] if think is None else think, pairs[at][1] if answer is None else answer),
        *pairs[at + 1 :],
    ]


@MANY
@given(with_transcript(), st.data())
def test_contradicting_a_right_step_never_pays(drawn, data):
    """The other mark, both marks, none; and a second step that says the opposite of it."""
    task, pairs = drawn
    at = data.draw(st.sampled_from(right_steps(task, pairs) or [None]))
    assume(at is not None)
    think, answer = pairs[at]
    opposite = answer.translate({ord(RIGHT): WRONG, ord(WRONG): RIGHT})
    unmarked = answer.replace(RIGHT, "").replace(WRONG, "")
    for other in (
        opposite,
        answer + opposite[-1],
        unmarked,
        f"{unmarked} {RIGHT}{WRONG}",
        f"{unmarked} not {answer[-1]}",
    ):
        assert at_most(total(task, replaced(pairs, at, answer=other)), total(task, pairs))
    second = (data.draw(st.sampled_from([think, negated(think)])), opposite)
    for to in (at, len(pairs) - 1):
        assert at_most(total(task, [*pairs[:to], second, *pairs[to:]]), total(task, pairs))


@MANY
@given(tasks(), st.data())
def test_negating_a_think_block_of_the_reference_never_pays(drawn, data):
    task, reference = drawn
    places = data.draw(st.sets(st.integers(0, len(reference) - 2), min_size=1))
    pairs = [(negated(think) if n in places else think, answer) for n, (think, answer) in enumerate(reference)]
    assert at_most(total(task, pairs), total(task, reference))


BOILERPLATE = [
    "The film was read with care. ",
    "Systematic review of the lungs, heart, pleura and bones. ",
    "So, then: ",
    "As every radiologist knows, ",
    "Step by step, I look at all regions again and again. " * 20,
    "\n",
    "Hmm. " * 50,
]


@MANY
@given(with_transcript(), st.data())
def test_padding_never_pays(drawn, data):
    """Words before and after a thought; steps on nothing; options that do not exist."""
    task, pairs = drawn
    before = total(task, pairs)
    at = data.draw(st.integers(0, len(pairs) - 1))
    words = data.draw(st.sampled_from(BOILERPLATE))
    for think in (words + pairs[at][0], f"{pairs[at][0]} {words}"):
        assert at_most(total(task, replaced(pairs, at, think=think)), before)
    filler = (
        words,
        data.draw(
            st.sampled_from(["Look.", "H ❌", "Unicorn ❌", "Unicorn ✅", "✅", "❌", "Heart: normal", "The lungs ✅"])
        ),
    )
    to = data.draw(st.integers(min(1, len(pairs) - 1) if task.domain == "open" else 0, len(pairs) - 1))
    assert at_most(total(task, [*pairs[:to], *[filler] * data.draw(st.integers(1, 3)), *pairs[to:]]), before)


@MANY
@given(tasks(), st.data())
def test_more_options_or_labels_never_beat_the_honest_answer(drawn, data):
    """Honest: the right ones alone, with or without steps. More names are worth less, however good the steps are."""
    task, reference = drawn
    names = list(task.options) if task.domain == "closed" else list(FINDINGS)
    more = data.draw(
        st.lists(st.sampled_from([name for name in names if name not in task.gold] or ["H"]), min_size=1, unique=True)
    )
    final = ", ".join(data.draw(st.permutations([*task.gold, *more])))
    honest = total(task, [("So.", reference[-1][1])])
    answers = {name: name in task.gold or name in more for name in names}
    steps = [("Look.", f"{name} {RIGHT if said else WRONG}") for name, said in answers.items()]
    head = [("List.", ", ".join(names))] if task.domain == "open" else []
    for pairs in (
        [("So.", final)],
        [*replaced(reference, -1, answer=final)[:-1], ("So.", final)],
        [*head, *steps, ("So.", final)],
    ):
        assert total(task, pairs) < honest


@MANY
@given(opened(), st.data())
def test_naming_everything_never_beats_an_honest_miss(drawn, data):
    """A reader who saw nothing, or took one finding for another, is not worth less than one who names all there are."""
    task, _ = drawn
    missed = data.draw(st.sampled_from([NO_FINDING, *FINDINGS]))
    names = data.draw(st.permutations(FINDINGS))
    everything = data.draw(st.sampled_from([", ", " and ", "\n- ", "; ", " / "])).join(names)
    assert at_most(total(task, [("So.", everything)]), total(task, [("So.", missed)]))
    with_steps = [("List.", everything), *(("Look.", f"{name} {RIGHT}") for name in names), ("So.", everything)]
    assert at_most(total(task, with_steps), total(task, [("So.", missed)]))


@MANY
@given(st.data())
def test_a_wrong_answer_never_outranks_a_right_one_of_the_same_format(data):
    task, reference = data.draw(tasks(data.draw(st.booleans())))
    one, other = (verdict_on(task, data.draw(transcripts(task, reference))) for _ in range(2))
    if one.format == other.format and one.outcome == 1 > other.outcome:
        assert other.total < one.total or one.format == 0


@MANY
@given(closed(), st.data())
def test_marking_everything_wrong_earns_no_more_than_guessing(drawn, data):
    """For every final answer: as much as that answer alone, or as a response that marks by it."""
    task, _ = drawn
    for final in task.options:
        lazy = total(task, everything_rejected(task, final))
        assert at_most(lazy, total(task, [("So.", final)])) and at_most(lazy, total(task, marked_by(task, final)))
    assert total(task, everything_rejected(task, NO_FINDING)) <= max(
        total(task, [("So.", o)]) for o in [*task.options, NO_FINDING]
    )


@MANY
@given(opened())
def test_rejecting_every_candidate_of_a_sick_film_earns_no_more_than_guessing(drawn):
    task, reference = drawn
    assume(task.gold)
    head = reference[:1]
    rejected = [(think, answer.replace(RIGHT, WRONG)) for think, answer in reference[1:-1]]
    for final in (NO_FINDING, *FINDINGS):
        guess = total(task, [("So.", final)])
        assert at_most(total(task, [*head, *rejected, ("So.", final)]), guess)
