"""Writes traces by rule: the report's own sentences about each option or candidate, as observations of the film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from curriculum.questions import RIGHT, WRONG
from curriculum.task import NO_FINDING, Task
from rewards.answer_key import AnswerKey
from rewards.findings.canonical import canonical
from rewards.findings.ontology import load_ontology
from rewards.forms.letters import key_of
from rewards.reading.answers import read_finding, read_marks
from rewards.reading.parser import parse
from rewards.traces.blocks import CONTRADICTED, UNKNOWN, Blocks, NoTrace
from rewards.traces.film import Film, film_of
from rewards.traces.matching import on_text
from rewards.traces.phrases import load_phrases
from rewards.traces.writer import Ask, Draft

NO_CANDIDATES = "no report says what its options, text or boxes are"
NO_OTHER_SECTION = "the report has nothing to think of beyond the text"
PLAIN = "its reference is a plain text, from which a model learns to see"
MAX_CANDIDATES = 4
MAX_THOUGHTS = 6  # sentences before the text of a section
_MATCHING_QUESTION = "Does this text describe the film?"


class ReportWriter:
    """The writer `report`. Its texts depend on the task, the attempt and the seed only.

    Args:
        seed: of the choice of sentences and forms.
        attempts: how often a task is tried.
    """

    name: ClassVar[str] = "report"
    runs_anywhere: ClassVar[bool] = True

    def __init__(self, seed: int, attempts: int) -> None:
        self.seed, self.attempts = seed, attempts
        self.settings: dict[str, object] = {"seed": seed}
        self.is_stopping = False

    def stop(self) -> None:
        """Writes nothing more."""
        self.is_stopping = True

    def write(self, asks: Sequence[Ask]) -> Iterator[Draft]:
        """One draft for each ask, in order."""
        for task, attempt in asks:
            if self.is_stopping:
                return
            try:
                text = trace_of(task, Random(f"{self.seed}:{task.id}:{attempt}"))
            except NoTrace as error:
                yield Draft(task.id, attempt, (), str(error), is_final=True)
            else:
                yield Draft(task.id, attempt, (text,))


def trace_of(task: Task, draw: Random) -> str:
    """A trace of a task from its report, or from its gold alone if it has none.

    Raises:
        NoTrace: the report does not give one.
    """
    film = film_of(task.report)
    if film.fault:
        raise NoTrace(film.fault)
    if task.form == "names":
        return _on_names(task, film, draw)
    if task.form == "text":
        return _on_section(task, film, draw)
    if task.form != "letters":
        raise NoTrace(NO_CANDIDATES)
    if task.family == "image_text_matching" and task.question.startswith(_MATCHING_QUESTION):
        return _on_matching(task, film, draw)
    return _on_options(task, film, draw)


def _on_options(task: Task, film: Film, draw: Random) -> str:
    """One pair for each option, then the letters."""
    key = key_of(task.model_copy(update={"reference": None}))
    blocks = Blocks(film, key.truth, draw)
    finding_of = {letter: _finding_of(letter, text, key) for letter, text in task.options.items()}
    right = [finding for letter, finding in finding_of.items() if letter in task.gold and finding != NO_FINDING]
    pairs = []
    for letter, finding in finding_of.items():
        is_right = letter in task.gold
        is_present = key.truth.get(finding, False)
        if finding == NO_FINDING:
            block = blocks.on_normal(is_right, right)
        else:
            block = blocks.on(finding, is_present, _ends(is_right))
        pairs.append((block, f"{letter}) {_mark(is_right)}"))
    return _with_letters(task, pairs, draw)


def _finding_of(letter: str, text: str, key: AnswerKey) -> str:
    """The finding that an option is about."""
    facts = key.expected_of(letter)
    for finding in facts.present | facts.absent:
        return finding
    if canonical(text) == NO_FINDING:
        return NO_FINDING
    raise NoTrace(UNKNOWN)


def _on_matching(task: Task, film: Film, draw: Random) -> str:
    """A pair for Yes and one for No, then the letter."""
    is_own = task.options[task.gold[0]].casefold() == "yes"
    text = film_of(task.question.removeprefix(_MATCHING_QUESTION).strip())
    thinks = on_text(film, text, is_own, Blocks(film, {}, draw))
    if draw.random() < 0.5:
        thinks = thinks[::-1]
    pairs = [
        (think, f"{letter}) {_mark(letter in task.gold)}") for think, letter in zip(thinks, task.options, strict=True)
    ]
    return _with_letters(task, pairs, draw)


def _with_letters(task: Task, pairs: list[tuple[str, str]], draw: Random) -> str:
    letters = ", ".join(task.gold)
    pattern = draw.choice(load_phrases().sums_of_letters)
    said = " and ".join(task.gold)
    return _joined(pairs, pattern.format(letters=said), letters)


def _on_names(task: Task, film: Film, draw: Random) -> str:
    """A pair that lists the candidates, one for each of them, then the right names."""
    known = load_ontology().findings
    gold = {canonical(name): name for name in task.gold}
    if not known.keys() >= gold.keys():
        raise NoTrace(UNKNOWN)
    if film.missed_by(gold):
        raise NoTrace(CONTRADICTED)
    candidates = _candidates(task, gold, film)
    blocks = Blocks(film, dict.fromkeys(gold, True), draw)
    pairs = [(draw.choice(load_phrases().openings), ", ".join(candidates.values()))]
    for finding, name in candidates.items():
        is_right = finding in gold
        pairs.append((blocks.on(finding, is_right, _ends(is_right)), f"{name} {_mark(is_right)}"))
    names = ", ".join(task.gold) or NO_FINDING
    phrases = load_phrases()
    pattern = draw.choice(phrases.sums if gold else phrases.sums_of_none)
    return _joined(pairs, pattern.format(names=names), names)


def _candidates(task: Task, gold: dict[str, str], film: Film) -> dict[str, str]:
    """Finding to its name: those that the task's own trace weighs; else the right ones, and some that are denied."""
    weighed: dict[str, str] = {}
    for pair in parse(task.reference or "").pairs[1:-1]:
        name, marks = read_marks(pair.answer)
        finding = read_finding(name) if marks else None
        if finding in load_ontology().findings:
            weighed.setdefault(str(finding), name)
    if weighed.keys() >= gold.keys() and len(weighed) > 1:
        return weighed
    denied = sorted(film.facts.absent - gold.keys())
    found = gold | {finding: finding for finding in denied[: max(1, MAX_CANDIDATES - len(gold))]}
    if not found:
        raise NoTrace(UNKNOWN)
    order = list(load_ontology().findings)
    return dict(sorted(found.items(), key=lambda entry: order.index(entry[0])))


def _on_section(task: Task, film: Film, draw: Random) -> str:
    """One pair: what the rest of the report observes, then the text."""
    if task.reference and not parse(task.reference).pairs:
        raise NoTrace(PLAIN)
    gold = task.gold[0]
    own = {observation.text for observation in film_of(gold).observations}
    thoughts = [observation.text for observation in film.observations if observation.text not in own]
    if not thoughts:
        raise NoTrace(NO_OTHER_SECTION if film.is_reported else NO_CANDIDATES)
    first = draw.randrange(max(1, len(thoughts) - MAX_THOUGHTS + 1))
    return _joined([], " ".join(thoughts[first : first + MAX_THOUGHTS]), gold)


def _joined(pairs: list[tuple[str, str]], summary: str, final: str) -> str:
    whole = [*pairs, (summary, final)]
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in whole)


def _ends(is_right: bool) -> list[str]:
    return load_phrases().right_ends if is_right else load_phrases().wrong_ends


def _mark(is_right: bool) -> str:
    return RIGHT if is_right else WRONG
