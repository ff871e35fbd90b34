"""Option letters of a closed question: right if the named options are exactly the gold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

from curriculum.task import OPTION_LETTERS, Task
from rewards.answer_key import AnswerKey, facts_of_label, with_reference
from rewards.config import RewardConfig
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.forms.base import (
    YES_NO,
    AnswerForm,
    JudgedAnswer,
    ReadGold,
    WrittenGold,
    final_in_words,
    final_verdict,
    in_words,
    is_yes_or_no,
)
from rewards.paper import score_letters
from rewards.reading.answers import are_yes_no, read_choice, read_marks, read_option, read_options
from rewards.reading.parser import Pair
from rewards.reading.reading import Reading
from rewards.steps import Candidates, judge_steps


def judge(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> JudgedAnswer:
    """Each pair before the last judges one option; the last names the right ones."""
    last, key = pairs[-1], key_of(task)
    reading = read_final(task, last.answer)
    final = reading.value
    outcome = float(final is not None and key.gold == set(final))

    is_marked = read_marks(last.answer)[1] == [True]
    accepted = final[0] if final and len(final) == 1 and is_marked else None
    read = partial(read_option, options=task.options, question=task.question)
    candidates = Candidates(read, key.candidates, key.required)
    judged = judge_steps(pairs, candidates, key, final, config, accepted)
    why = f"final answer {final_in_words(reading)}, gold {in_words(task.gold)}"
    steps = (*judged.steps, final_verdict(last, outcome, why))
    return JudgedAnswer(final, outcome, steps, judged.process, judged.reason, (why,), unread=reading.unread or "")


def read_final(task: Task, answer: str) -> Reading:
    """The options that a final answer names."""
    return read_choice(answer, task.options, task.question)


def key_of(task: Task) -> AnswerKey:
    """The answer key of a closed task. The responses of a group share it."""
    return _key(task.question, tuple(task.options.items()), task.gold, task.reference)


@lru_cache(maxsize=256)
def _key(
    question: str, options: tuple[tuple[str, str], ...], gold: tuple[str, ...], reference: str | None
) -> AnswerKey:
    texts = dict(options)
    finding_of: dict[str, str | None]
    is_present: dict[str, bool]
    if are_yes_no(texts):  # both options are about the finding of the question
        finding_of = dict.fromkeys(texts, _finding_of_question(question))
        is_present = dict.fromkeys(texts, texts[gold[0]].strip().casefold() == "yes")
    else:
        finding_of = {letter: canonical(text) for letter, text in options}
        is_present = {letter: letter in gold for letter in texts}
    known = load_ontology().findings
    truth = {name: is_present[letter] for letter, name in finding_of.items() if name in known}
    letters = frozenset(texts)
    key = AnswerKey(
        gold=frozenset(gold),
        truth=truth,
        candidates=letters,
        required=letters,
        expected={letter: facts_of_label(name, is_present[letter]) for letter, name in finding_of.items()},
    )
    return with_reference(key, reference, partial(read_option, options=texts))


def _finding_of_question(question: str) -> str | None:
    """The one finding that a yes-or-no question asks about."""
    if not question.rstrip().endswith("?"):
        return None
    names = {mention.finding for mention in extract(question).mentions}
    return names.pop() if len(names) == 1 else None


def read_gold(written: WrittenGold) -> ReadGold:
    """Reads a gold of letters or of options' texts. A gold of Yes or No needs no options."""
    options = written.options
    if not options and len(written.texts) == 1 and is_yes_or_no(written.texts[0]):
        options = dict(YES_NO)
    if not options:
        raise ValueError('a closed row needs "options", as {"A": "Mass", "B": "Edema"}')
    letters = _letters_of(written.texts, options)
    return ReadGold(letters, options, published=tuple(_first_letter(text) for text in written.texts[:1]))


def _letters_of(gold: Sequence[str], options: Mapping[str, str]) -> list[str]:
    letters: list[str] = []
    for text in gold:
        named = read_options(text, options)
        if named is None:
            raise ValueError(f"gold {text!r:.80} is none of the options {dict(options)}")
        letters += named
    return letters


def _first_letter(text: str) -> str:
    """The option that the published code takes a gold for: its first letter from A to G."""
    match = re.search(f"[{OPTION_LETTERS}]", text.upper())
    return match[0] if match else ""


FORM = AnswerForm(judge, read_gold, score_as_published=score_letters, read=read_final)
