"""What sentences mean: the reader's own examples, cases with hand-written gold, and sentences built by a grammar."""

import json
import re
from pathlib import Path

import pytest

from rewards.findings import sentence_reader
from rewards.findings.extract import extract
from tests.support.rewards.finding_grammar import built_sentences

SIGNS = {"present": "+", "absent": "-", "uncertain": "?"}
EXAMPLES = re.findall(r"^ {4}(\S.*?[.?]) {2,}((?:[+?-]\S+ ?)*)", sentence_reader.__doc__, re.MULTILINE)
CASES = Path(__file__).parent / "cases"
SHARED = Path(__file__).parents[3] / "../shared/data/fault_cases"


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def is_read(row):
    gold = row.get("right", row)
    found = extract(row["text"])
    return all(sorted(getattr(found, status)) == sorted(gold[status]) for status in SIGNS)


def test_the_examples_are_found():
    assert len(EXAMPLES) == 25


@pytest.mark.parametrize("sentence, reading", EXAMPLES, ids=[sentence for sentence, _ in EXAMPLES])
def test_an_example_of_the_docstring(sentence, reading):
    mentions = extract(sentence).mentions
    written = [SIGNS[m.status] + m.finding + (f":{m.side}" if m.side else "") for m in mentions]
    assert written == reading.split()


@pytest.mark.parametrize("row", rows(CASES / "read.jsonl"), ids=lambda row: f"{row['kind']}: {row['text']!a:.60}")
def test_a_case_is_read_as_a_radiologist_means_it(row):
    assert is_read(row)


def test_most_cases_that_nothing_was_fitted_to_are_read_too():
    held_out = rows(CASES / "held_out.jsonl")
    share = sum(map(is_read, held_out)) / len(held_out)
    print(f"{share:.3f} of {len(held_out)}")
    assert share >= 0.92


def test_the_shared_cases_are_read():
    files = [SHARED / "reward_sentences.jsonl", *SHARED.glob("extract-*/texts.jsonl")]
    if not SHARED.exists():
        pytest.skip("needs the shared cases beside the repository")
    assert [row["text"] for path in files for row in rows(path) if not is_read(row)] == []


def test_sentences_of_a_grammar_are_read():
    def is_as_built(built):
        found = extract(built.text)
        return {name: status for status in SIGNS for name in getattr(found, status)} == built.statuses

    sentences = built_sentences(1000)
    assert len({built.text for built in sentences}) > 900
    assert sum(map(is_as_built, sentences)) >= 980


@pytest.mark.parametrize(
    "text, finding, side, severity, place",
    [
        ("Small left apical pneumothorax and large right basal effusion.", "Pneumothorax", "left", "mild", "apical"),
        ("Small left apical pneumothorax and large right basal effusion.", "Effusion", "right", "severe", "basal"),
        ("Left lower lobe pneumonia.", "Pneumonia", "left", "", "lower"),
        ("RUL nodule.", "Nodule", "right", "", "upper"),
        ("Moderate cardiomegaly without edema.", "Cardiomegaly", "", "moderate", ""),
        ("The heart is markedly enlarged.", "Cardiomegaly", "", "severe", ""),
        ("The heart is mildly enlarged.", "Cardiomegaly", "", "mild", ""),
        ("Consolidation in the right middle lobe.", "Consolidation", "right", "", "middle"),
        ("Effusion, small.", "Effusion", "", "mild", ""),
        ("Pleural effusion: small, left.", "Effusion", "left", "mild", ""),
        ("Mild to moderate bibasilar atelectasis.", "Atelectasis", "bilateral", "moderate", "basal"),
        ("A retrocardiac opacity, likely atelectasis; large mass.", "Mass", "", "severe", ""),
        ("Small effusion and atelectasis.", "Atelectasis", "", "", ""),
        ("Trace left effusion and a mass.", "Mass", "", "", ""),
        ("The effusion is large.", "Effusion", "", "severe", ""),
    ],
)
def test_side_severity_and_place_are_those_of_their_finding(text, finding, side, severity, place):
    (mention,) = {mention for mention in extract(text).mentions if mention.finding == finding}
    assert (mention.side, mention.severity, mention.place) == (side, severity, place)
