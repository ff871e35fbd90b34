"""What credit must never pay for: advantages of generated groups of transcripts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.algorithm.advantage import token_advantages
from rewards.score import score
from tests.support.rewards.transcripts import (
    CONFIG,
    MANY,
    at_most,
    closed,
    everything_rejected,
    marked_by,
    tasks,
    transcripts,
    verdict_on,
    written,
)


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
