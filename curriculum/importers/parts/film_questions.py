"""Every question that the labels of films answer."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from curriculum.boxes import write_box
from curriculum.importers.parts.label import Box, Label
from curriculum.questions import VIEWS, LabelledFilm, QuestionWriter
from curriculum.task import NO_FINDING, OPTION_LETTERS, Task
from curriculum.taskset import TaskSetError

_MAX_DESCRIBED = 30  # findings: a sentence about each of PadChest's 190 would be a report of a thousand tokens
_TRIES = 32  # draws of another film, for a text that does not match
_OPTION_COUNTS = [4, 5, 6, 7]
_OPTION_COUNT_WEIGHTS = [0.7, 0.1, 0.1, 0.1]


def film_questions(
    films: Sequence[tuple[Label, LabelledFilm]], vocabulary: Sequence[str], seed: int, uncertain: bool = False
) -> Iterator[Task]:
    """Yields every question that is answered by what is known of each film.

    Args:
        films: each label with its film.
        vocabulary: the findings that were looked for.
        seed: of the random choices; those of a film depend on the seed, its id and how often findings occur together.
        uncertain: whether each film with an unsure finding is asked about one, with the right answer "Uncertain", and
            about one that is sure; without it, nothing is asked about unsure findings.

    Raises:
        TaskSetError: a box holds nothing of its film.
    """
    labelled = [film for label, film in films if label.findings is not None]
    seen = Counter(finding for film in labelled if film.split == "train" for finding in film.findings)
    # One more of each, so that a finding that no train film shows is still offered as a wrong option.
    prevalence = {finding: seen[finding] + 1 for finding in vocabulary}
    healthy = sum(not film.findings for film in labelled) / max(1, len(labelled))
    writer = QuestionWriter(prevalence, healthy, describe, _found_together(labelled))
    texts = _texts(films, listed=bool(vocabulary))
    previous = _previous_films(films)
    for label, film in films:
        rng = np.random.default_rng([seed, int(unit(film.id) * 2**48)])
        if vocabulary and label.findings is not None:
            yield from _about_findings(writer, film, len(vocabulary), rng)
            if uncertain:
                yield from _about_certainty(writer, film, vocabulary, seed)
        if film.provenance.get("view") in VIEWS:
            yield writer.view(film)
        if film.id in texts:
            yield writer.matching(film, texts[film.id], _text_of_another(film, texts, films, rng), rng)
        yield from _about_report(writer, label, film)
        if film.id in previous:
            finding = _draw_change(previous[film.id], film, vocabulary, rng)
            if finding:
                yield writer.progression(previous[film.id], film, finding)
        for finding, boxes in _boxes(label, label.boxes).items():
            yield writer.grounding(film, finding, boxes)
        for number, (phrase, boxes) in enumerate(_boxes(label, label.phrases).items()):
            yield writer.phrase_grounding(film, number, phrase, boxes)


def describe(finding: str, present: bool) -> str:
    """The think sentence of a gold trace: the label in words, since no more is known of the film."""
    if finding == NO_FINDING:
        return "Nothing is seen." if present else "Something is seen."
    return f"{finding} is seen." if present else f"{finding} is not seen."


def unit(text: str) -> float:
    """A number in [0, 1) that depends on the text only (Python's own hash changes with every process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def _about_findings(
    writer: QuestionWriter, film: LabelledFilm, looked_for: int, rng: np.random.Generator
) -> Iterator[Task]:
    absent = len(writer.absent(film))
    max_options = min(len(OPTION_LETTERS), absent + 1)
    single_options = min(int(rng.choice(_OPTION_COUNTS, p=_OPTION_COUNT_WEIGHTS)), max_options)
    multiple_options = min(int(rng.choice(_OPTION_COUNTS, p=_OPTION_COUNT_WEIGHTS)), max_options)
    sure = not film.unsure
    if absent or film.findings:
        yield writer.binary(film, rng)
    if looked_for > 1 and absent and (film.findings or sure):
        yield writer.single_choice(film, rng, single_options)
        yield writer.multiple_choice(film, rng, multiple_options)
    if looked_for > 1 and absent and sure:
        yield writer.diagnosis(film, rng, min(4, len(film.findings) + absent))
    if looked_for <= _MAX_DESCRIBED:
        yield writer.report(film, rng)


def _about_certainty(
    writer: QuestionWriter, film: LabelledFilm, vocabulary: Sequence[str], seed: int
) -> Iterator[Task]:
    """A question about an unsure finding, and one about a finding that is present or absent, each equally likely."""
    unsure = [name for name in film.unsure if name in vocabulary]
    if not unsure:
        return
    # A generator of its own: the other questions are the same with and without these.
    rng = np.random.default_rng([seed, int(unit(film.id) * 2**48), 1])
    yield writer.certainty(film, str(rng.choice(unsure)))
    kinds = [names for names in (film.findings, writer.absent(film)) if names]
    if kinds:
        yield writer.certainty(film, str(rng.choice(kinds[rng.integers(len(kinds))])))


def _found_together(films: Sequence[LabelledFilm]) -> dict[str, Counter[str]]:
    """Finding to how many train films with it show each other finding."""
    together: dict[str, Counter[str]] = defaultdict(Counter)
    for film in films:
        if film.split == "train":
            for finding in film.findings:
                together[finding].update(film.findings)
    return together


def _about_report(writer: QuestionWriter, label: Label, film: LabelledFilm) -> Iterator[Task]:
    for name, text in label.sections.items():
        yield writer.section(film, name, text)
        if label.indication:
            yield writer.section(film, name, text, label.indication)


def _texts(films: Sequence[tuple[Label, LabelledFilm]], listed: bool) -> dict[str, str]:
    """Film id to the text that belongs to the film: a section of its report or, if `listed`, its findings by name."""
    texts = {}
    for label, film in films:
        if label.sections:
            texts[film.id] = label.sections.get("impression") or label.sections.get("findings") or _listing(film)
        elif listed and label.findings is not None and not label.unsure:
            texts[film.id] = _listing(film)
    return texts


def _listing(film: LabelledFilm) -> str:
    return f"Findings: {', '.join(film.findings) or NO_FINDING}."


def _text_of_another(
    film: LabelledFilm, texts: dict[str, str], films: Sequence[tuple[Label, LabelledFilm]], rng: np.random.Generator
) -> str | None:
    """The text of another film of the same split, with other findings if known; None if the draws find none."""
    for index in rng.integers(len(films), size=_TRIES):
        label, other = films[index]
        if other.split != film.split or texts.get(other.id, texts[film.id]) == texts[film.id]:
            continue
        if label.findings is None or set(other.findings) != set(film.findings):
            return texts[other.id]
    return None


def _previous_films(films: Sequence[tuple[Label, LabelledFilm]]) -> dict[str, LabelledFilm]:
    """Film id to the labelled film before it of the same patient. Lateral films are not compared with frontal ones."""
    of_patient: dict[str, list[tuple[float, LabelledFilm]]] = defaultdict(list)
    for label, film in films:
        if label.order is not None and label.findings is not None and film.provenance.get("view") != "Lateral":
            of_patient[film.patient].append((label.order, film))
    previous: dict[str, LabelledFilm] = {}
    for dated in of_patient.values():
        dated.sort(key=lambda pair: (pair[0], pair[1].id))
        for (earlier_order, earlier), (later_order, later) in pairwise(dated):
            if earlier_order < later_order:
                previous[later.id] = earlier
    return previous


def _draw_change(
    before: LabelledFilm, film: LabelledFilm, vocabulary: Sequence[str], rng: np.random.Generator
) -> str | None:
    """A finding that both films are sure of; each kind of change that the two films show is equally likely."""
    kinds: dict[tuple[bool, bool], list[str]] = defaultdict(list)
    for finding in vocabulary:
        if not {finding} & {*before.unsure, *before.unasked, *film.unsure, *film.unasked}:
            kinds[finding in before.findings, finding in film.findings].append(finding)
    if not kinds:
        return None
    kind = sorted(kinds)[rng.integers(len(kinds))]
    return str(rng.choice(kinds[kind]))


def _boxes(label: Label, marked: Sequence[Box]) -> dict[str, list[str]]:
    """Finding, or phrase, to its boxes as texts, each once."""
    boxes: dict[str, list[str]] = {}
    for finding, left, top, right, bottom in marked:
        try:
            text = write_box(left, top, right, bottom, *label.size)
        except ValueError as error:
            raise TaskSetError(
                f"{label.where}: the box {[left, top, right, bottom]} of {finding} holds nothing of a film of "
                f"{label.size}; a box is left, top, right, bottom in pixels of a film of this size"
            ) from error
        of_finding = boxes.setdefault(finding, [])
        if text not in of_finding:
            of_finding.append(text)
    return boxes
