"""What `strict` must never pay for where a recipe compares sides, and that a recipe that does not ignores them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.transcripts import MANY, RIGHT, WRONG, at_most, task_of, written

SIDES = ["", "left", "right", "bilateral"]
CONFIG = RewardConfig(attributes=("side",))
NAMES = ["Effusion", "Pneumothorax", "Consolidation", "Mass", "Fracture", "Atelectasis"]
FULL = RewardConfig(attributes=("side", "severity", "place"))


def sided(side, name):
    return f"{side} {name}".strip()


def thought(side, name, present):
    return f"There is {side} {name.lower()}." if present else f"There is no {name.lower()}."


@st.composite
def films(draw):
    """A task whose gold knows sides, and the pairs of its reference."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    side_of = {name: draw(st.sampled_from(SIDES)) for name in names}
    sick = names[: draw(st.integers(1, len(names)))]
    gold = [sided(side_of[name], name) for name in sick]
    reference = [("The candidates.", ", ".join(names))]
    for name in names:
        mark = RIGHT if name in sick else WRONG
        reference.append((thought(side_of[name], name, name in sick), f"{name} {mark}"))
    reference.append(("In sum.", ", ".join(gold)))
    return task_of("open", reference, gold=tuple(gold)), reference, side_of, sick


@st.composite
def responses(draw, reference, side_of, sick):
    """Steps and a final list, in which sides are drawn anew."""
    pairs = [reference[0]]
    listed = []
    for name in side_of:
        accepted = draw(st.booleans())
        side = draw(st.sampled_from(SIDES))
        stated = draw(
            st.sampled_from([thought(side, name, accepted), thought("left", name, True) + " It is right-sided."])
        )
        pairs.append((stated, f"{draw(st.sampled_from([name, sided(side, name)]))} {RIGHT if accepted else WRONG}"))
        if accepted:
            listed.append(sided(draw(st.sampled_from([side, side, *SIDES])), name))
    return [*pairs, ("In sum.", ", ".join(listed) or "No finding")]


def verdict_on(task, pairs, config=CONFIG):
    return score(task, written(pairs), config)


@MANY
@given(films(), st.data())
@pytest.mark.parametrize("config", [CONFIG, FULL])
def test_no_response_beats_the_reference(config, film, data):
    task, reference, side_of, sick = film
    best = verdict_on(task, reference, config)
    assert (best.format, best.outcome, best.process) == (1, 1, 1) and best.reason == pytest.approx(1)
    assert at_most(verdict_on(task, data.draw(responses(reference, side_of, sick)), config).total, best.total)


@MANY
@given(films(), st.data())
def test_no_mix_of_sides_earns_more_than_the_true_one(film, data):
    task, _, _, sick = film
    honest = verdict_on(task, [("So.", ", ".join(task.gold))])
    assert honest.outcome == 1
    name = data.draw(st.sampled_from(sick))
    gold = next(text for text in task.gold if name in text)
    others = [text for text in task.gold if text != gold]
    knows_side = gold != name
    for mix in (
        f"left right {name}",
        f"left {name}, right {name}",
        f"bilateral left {name}",
        f"right left {name}",
        name,
    ):
        outcome = verdict_on(task, [("So.", ", ".join([*others, mix]))]).outcome
        assert outcome <= 1 and (outcome < 1 or not knows_side or "bilateral" in gold)


@MANY
@given(films(), st.data())
def test_without_the_key_sides_make_no_difference(film, data):
    """Left and right exchanged, the verdict is the same but for the places of the characters."""
    task, reference, side_of, sick = film
    pairs = data.draw(responses(reference, side_of, sick))
    plain = RewardConfig()
    swap = {"left": "right", "right": "left"}

    def swapped(text):
        return " ".join(swap.get(word, word) for word in text.split(" "))

    other = [(swapped(think), swapped(answer)) for think, answer in pairs]
    ours, theirs = verdict_on(task, pairs, plain), verdict_on(task, other, plain)
    assert (ours.total, ours.answer, ours.process, ours.reason, ours.why) == (
        theirs.total,
        theirs.answer,
        theirs.process,
        theirs.reason,
        theirs.why,
    )
    assert [(s.judgement, s.score, s.why) for s in ours.steps] == [(s.judgement, s.score, s.why) for s in theirs.steps]


@MANY
@given(films(), st.data())
def test_the_key_never_raises_a_reward(film, data):
    task, reference, side_of, sick = film
    pairs = data.draw(responses(reference, side_of, sick))
    assert verdict_on(task, pairs).outcome <= verdict_on(task, pairs, RewardConfig()).outcome
