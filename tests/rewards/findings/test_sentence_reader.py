import re

import pytest

from rewards.findings import sentence_reader
from rewards.findings.extract import extract

SIGNS = {"present": "+", "absent": "-", "uncertain": "?"}
EXAMPLES = re.findall(r"^ {4}(\S.*?[.?]) {2,}((?:[+?-]\S+ ?)*)", sentence_reader.__doc__, re.MULTILINE)


def test_the_examples_are_found():
    assert len(EXAMPLES) == 25


@pytest.mark.parametrize("sentence, reading", EXAMPLES, ids=[sentence for sentence, _ in EXAMPLES])
def test_an_example_of_the_docstring(sentence, reading):
    mentions = extract(sentence).mentions
    written = [SIGNS[m.status] + m.finding + (f":{m.side}" if m.side else "") for m in mentions]
    assert written == reading.split()
