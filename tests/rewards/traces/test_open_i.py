"""Traces of real reports against their hand-checked labels, and against words that another reader listed."""

import csv
import re
from random import Random

import numpy as np
import pytest

from curriculum.importers.labels import nih
from curriculum.importers.parts.film_questions import describe
from curriculum.questions import LabelledFilm, QuestionWriter
from rewards.comparison.facts import facts_of
from rewards.reading.answers import read_finding, read_marks
from rewards.reading.parser import parse
from rewards.traces.blocks import NoTrace
from rewards.traces.report_writer import trace_of
from rewards.traces.verifier import VerifierConfig, verify
from tests.support.rewards.openi import GOLD, open_i_sections

EVERY = 10  # of 3,080 reports
SECOND_LIST = re.compile(
    r"xxxx|__|\d{4}|\d/\d|prior|previous|compar(?!tment)|interval|unchang|\bstable|\bagain\b|since|improv|worsen|resol"
    r"|\bnew\b|persist|remain|recommend|correlat|\bct\b|report|impression|dictat|doctor|\bdr\b|history|status post"
    r"|no longer|radiolog|yesterday|today|currently|\bnow\b|earlier|former|clinical|follow|increased in|decreased in",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def traced():
    """(task, trace, the findings of its film) of a tenth of the reports, and how many tasks were tried."""
    reports = open_i_sections()
    if not GOLD.exists() or reports is None:
        pytest.skip("needs the gold labels beside the repository and, in OPENI_WHEEL, the reports (docs/findings.md)")
    writer = QuestionWriter(dict.fromkeys(nih.FINDINGS, 1), 0.5, describe)
    found, tried = [], 0
    with GOLD.open() as file:
        rows = list(csv.DictReader(file))[::EVERY]
    for number, row in enumerate(rows):
        truth = tuple(name for name in nih.FINDINGS if row[name.replace(" ", "_")] == "1")
        text = "\n\n".join(
            f"{name}: {part}" for name, part in zip(("FINDINGS", "IMPRESSION"), reports[row["filename"]], strict=True)
        )
        film = LabelledFilm(row["filename"], "film.png", truth, "train", "p", {"report": text})
        rng = np.random.default_rng(number)
        for task in (writer.diagnosis(film, rng), writer.multiple_choice(film, rng)):
            tried += 1
            try:
                trace = trace_of(task, Random(task.id))
            except NoTrace:
                continue
            if verify(task, trace, VerifierConfig()).is_accepted:
                found.append((task, trace, truth))
    return found, tried


def test_most_tasks_get_a_trace(traced):
    found, tried = traced
    assert tried > 600 and len(found) > 0.7 * tried


def test_think_blocks_agree_with_the_labels(traced):
    agree = total = 0
    for task, trace, truth in traced[0]:
        for pair in parse(trace).pairs[1:-1] if task.form == "names" else ():
            finding = read_finding(read_marks(pair.answer)[0])
            total += 1
            agree += facts_of(pair.think).says(finding) is (finding in truth)
    assert total > 500 and agree >= 0.95 * total


def test_no_think_block_has_a_word_of_the_second_list(traced):
    thinks = [pair.think for _, trace, _ in traced[0] for pair in parse(trace).pairs]
    found = [(match[0], think) for think in thinks if (match := SECOND_LIST.search(think))]
    assert not found, found[:5]
