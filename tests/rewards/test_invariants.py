"""What `strict` must never pay for, over generated tasks, references, transcripts and mutations of them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.algorithm.advantage import token_advantages
from curriculum.importers.nih import FINDINGS
from curriculum.task import NO_FINDING, Task
from rewards.config import RewardConfig
from rewards.score import score

CONFIG = RewardConfig()
RIGHT, WRONG = "✅", "❌"
MANY = settings(max_examples=80)
PRESENT = ["There is {0}.", "{0} is seen on the left.", "Small {0}, unchanged.", "Findings consistent with {0}."]
ABSENT = ["No {0}.", "There is no evidence of {0}.", "The film is without {0}.", "{0} is not seen."]
OWN_WORDS = {  # what radiologists say instead of the name
    "Cardiomegaly": ("The heart is enlarged.", "The heart is normal in size."),
    "Effusion": ("Pleural fluid on the right.", "No pleural effusions."),
    "Mass": ("There is a mass in the left lung.", "No mass."),
    "Edema": ("Pulmonary oedema.", "No pulmonary edema."),
}
NO_FACT = ["The film was read with care.", "Look again.", "It is the other option.", "Left and right were compared."]


def sentences(finding, present):
    """What a think block may say of a finding."""
    by_name = [text.format(finding.lower()) for text in (PRESENT if present else ABSENT)]
    return st.sampled_from(by_name + ([OWN_WORDS[finding][not present]] if finding in OWN_WORDS else []))


some_sentence = st.one_of(
    st.sampled_from(NO_FACT), st.tuples(st.sampled_from(FINDINGS), st.booleans()).flatmap(lambda said: sentences(*said))
)


@st.composite
def thoughts(draw, finding, present):
    """A think block of a reference: mostly about its candidate; now and then nothing, more, or a mistake."""
    about = [draw(sentences(finding, present))] if finding in FINDINGS else []
    said = draw(st.sampled_from([about, about, about, [], [*about, "+"], ["+", *about], ["+"]]))
    return " ".join(draw(some_sentence) if text == "+" else text for text in said) or draw(st.sampled_from(NO_FACT))


def written(pairs):
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def task_of(domain, reference, **fields):
    return Task(
        id="t",
        domain=domain,
        family="f",
        images=("x.png",),
        reference=reference and written(reference),
        **({"question": "?"} | fields),
    )


@st.composite
def closed(draw, with_reference=True):
    """A task and the pairs of its reference."""
    kind = draw(st.sampled_from(["yes/no", "single", "multiple"]))
    if kind == "yes/no":
        finding, present = draw(st.sampled_from(FINDINGS)), draw(st.booleans())
        options, gold = {"A": "Yes", "B": "No"}, ("A",) if present else ("B",)
        about = dict.fromkeys("AB", (finding, present))
        question = f"Is there {finding.lower()}?"
    else:
        names = draw(st.lists(st.sampled_from([*FINDINGS, NO_FINDING]), min_size=2, max_size=7, unique=True))
        options = dict(zip("ABCDEFG", names, strict=False))
        gold = tuple(
            sorted(draw(st.sets(st.sampled_from(sorted(options)), min_size=1, max_size=1 if kind == "single" else 7)))
        )
        about = {letter: (name, letter in gold) for letter, name in options.items()}
        question = "Which of these?"
    form = draw(st.sampled_from(["{0}", "{0})", "{0}) {1}", "{1}"]))
    pairs = [
        (draw(thoughts(*about[letter])), f"{form.format(letter, text)} {RIGHT if letter in gold else WRONG}")
        for letter, text in options.items()
    ]
    pairs.append((draw(some_sentence), ", ".join(gold) + draw(st.sampled_from(["", " " + RIGHT]))))
    return task_of("closed", pairs if with_reference else None, question=question, options=options, gold=gold), pairs


@st.composite
def opened(draw, with_reference=True):
    gold = tuple(draw(st.lists(st.sampled_from(FINDINGS), max_size=4, unique=True)))
    others = draw(
        st.lists(st.sampled_from([name for name in FINDINGS if name not in gold]), min_size=1, max_size=3, unique=True)
    )
    candidates = draw(st.permutations([*gold, *others]))
    pairs = [(draw(st.sampled_from(NO_FACT)), ", ".join(candidates))]
    pairs += [(draw(thoughts(name, name in gold)), f"{name} {RIGHT if name in gold else WRONG}") for name in candidates]
    pairs.append((draw(some_sentence), ", ".join(gold) or NO_FINDING))
    return task_of("open", pairs if with_reference else None, gold=gold), pairs


def tasks(with_reference=True):
    return closed(with_reference) | opened(with_reference)


@st.composite
def transcripts(draw, task, reference):
    """Pairs of a response: the reference, spoilt in up to four places, or pairs that are drawn freely."""
    names = list(task.options) if task.domain == "closed" else list(FINDINGS)
    marked = st.tuples(
        st.sampled_from([*names, "H", ""]), st.sampled_from([RIGHT, RIGHT, WRONG, WRONG, "", RIGHT + WRONG])
    )
    lists = st.lists(st.sampled_from([*names, NO_FINDING]), min_size=1, max_size=4).map(", ".join)
    answers = marked.map(" ".join) | lists | st.sampled_from([answer for _, answer in reference])
    pair = st.tuples(some_sentence | st.sampled_from([think for think, _ in reference]), answers)
    if draw(st.integers(0, 3)) == 0:
        return draw(st.lists(pair, min_size=1, max_size=9))
    pairs = list(reference)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(pairs) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "new", "think", "answer", "move"]))
        if change == "drop" and len(pairs) > 1:
            del pairs[at]
        elif change == "double":
            pairs.insert(draw(st.integers(0, len(pairs))), pairs[at])
        elif change == "new":
            pairs.insert(at, draw(pair))
        elif change == "move":
            pairs.insert(draw(st.integers(0, len(pairs) - 1)), pairs.pop(at))
        elif change == "swap":
            pairs[at] = (pairs[at][0], pairs[at][1].translate({ord(RIGHT): WRONG, ord(WRONG): RIGHT}))
        elif change == "think":
            pairs[at] = (draw(some_sentence), pairs[at][1])
        elif change == "answer":
            pairs[at] = (pairs[at][0], draw(answers))
    return pairs


def verdict_on(task, pairs):
    return score(task, written(pairs), CONFIG)


def total(task, pairs):
    return verdict_on(task, pairs).total


def at_most(total, other):
    return total <= other + 1e-9


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


def everything_rejected(task, final):
    return [("Look.", f"{letter} {WRONG}") for letter in task.options] + [("So.", final)]


def marked_by(task, final):
    return [("Look.", f"{letter} {RIGHT if letter == final else WRONG}") for letter in task.options] + [("So.", final)]


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


def steps_as_tokens(verdicts):
    """One token for each pair of a response."""
    return [np.array([step.end for step in verdict.steps]) for verdict in verdicts]


CREDITS = pytest.mark.parametrize("credit", ["response", "step", "return"])


@st.composite
def groups(draw):
    """A task and responses to it: the reference first, then transcripts, some of them bare answers."""
    task, reference = draw(tasks())
    bare = st.just(reference[-1:])
    return task, [
        reference,
        *draw(st.lists(transcripts(task, reference) | transcripts(task, reference) | bare, min_size=1, max_size=7)),
    ]


@MANY
@given(groups())
def test_no_advantage_in_a_group_is_above_that_of_the_reference(drawn):
    """Of the whole response; and, by step, on the same candidate."""
    task, responses = drawn
    verdicts = [verdict_on(task, pairs) for pairs in responses]
    whole, *others = token_advantages(verdicts, steps_as_tokens(verdicts), "response", 0.5)
    assert all(at_most(other[0], whole[0]) for other in others)
    own, *others = token_advantages(verdicts, steps_as_tokens(verdicts), "step", 0.5)
    of_candidate = {step.candidate: value for step, value in zip(verdicts[0].steps, own, strict=True) if step.candidate}
    for verdict, values in zip(verdicts[1:], others, strict=True):
        for step, value in zip(verdict.steps, values, strict=True):
            assert value <= of_candidate.get(step.candidate, np.inf) + 1e-6
        assert values[-1] <= own[-1] + 1e-6  # the summary


@CREDITS
@MANY
@given(drawn=groups(), copies=st.integers(2, 8))
def test_equal_responses_get_exactly_nothing(credit, drawn, copies):
    """Where a response judges something twice, its own steps are unequal."""
    task, responses = drawn
    verdicts = [verdict_on(task, responses[-1])] * copies
    assume(credit == "response" or all(step.judgement != "fault" for step in verdicts[0].steps))
    assert not np.concatenate(token_advantages(verdicts, steps_as_tokens(verdicts), credit, 0.5)).any()


@CREDITS
@MANY
@given(drawn=closed(), weight=st.sampled_from([0.3, 1.0]))
def test_marking_everything_wrong_has_no_more_advantage_than_guessing(credit, drawn, weight):
    """A group of both kinds, each with every final answer, and one that reads. Texts of an answer are equally long."""
    task, reference = drawn
    lazy = [everything_rejected(task, final) for final in task.options]
    guesses = [marked_by(task, final) for final in task.options]
    texts = [written(pairs) for pairs in (reference, *lazy, *guesses)]
    verdicts = [score(task, text, CONFIG) for text in texts]
    tokens = token_advantages(verdicts, [np.arange(1, len(text) + 1) for text in texts], credit, weight)
    means = [values.mean() for values in tokens[1:]]
    assert all(a <= b + 1e-6 for a, b in zip(means[: len(lazy)], means[len(lazy) :], strict=True))
