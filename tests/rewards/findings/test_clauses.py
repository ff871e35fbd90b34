import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.findings import clauses
from rewards.findings.clauses import statements_of
from rewards.findings.phrases import phrases_of, words_of

COUNTS = {"one": 1, "two": 2}
EXAMPLES = re.findall(r"^ {4}(\S.*?\.) {2,}(one|two)", clauses.__doc__, re.MULTILINE)


def statements(sentence):
    return statements_of(phrases_of(words_of(sentence.lower())))


def test_the_examples_are_found():
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("sentence, count", EXAMPLES, ids=[sentence for sentence, _ in EXAMPLES])
def test_an_example_of_the_docstring(sentence, count):
    assert len(statements(sentence)) == COUNTS[count]


@given(
    st.lists(st.sampled_from(["no", "edema", "mass", ",", "or", "and", "but", "is", "stable", "possible", "?", ":"]))
)
def test_statements_keep_the_order_and_every_finding(words):
    events = phrases_of(words)
    kept = [event for statement in statements_of(events) for event in statement.events]
    assert [event.start for event in kept] == sorted(event.start for event in kept)
    assert [e for e in kept if e.kind == "finding"] == [e for e in events if e.kind == "finding"]
    spans = [(statement.start, statement.end) for statement in statements_of(events)]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
