"""Questions about a film, from what is known of it: which findings it shows, out of those that were looked for.

The same builder serves the phantoms and imported sets, so all have the same families:

| family | domain, form | asks |
|---|---|---|
| `binary` | closed | is one finding present? |
| `certainty` | closed | is one finding present, absent or uncertain? |
| `single_choice`, `multiple_choice` | closed | which of two to seven options, one or several? |
| `view` | closed | PA, AP or lateral? |
| `image_text_matching` | closed | does a text belong to the film? |
| `progression` | closed, two films | what became of a finding since the film before? |
| `diagnosis` | open, names | name the findings |
| `report` | open, text | a sentence about every finding, from which SFT learns to see |
| `findings`, `impression`, and either `_with_indication` | open, text | write that section of the report |
| `grounding` | open, boxes | where is a finding? |
| `phrase_grounding` | open, boxes | where is what a sentence of the report says? |

Wrong options are plausible: they are drawn by how often they are found beside the findings of the film. A closed task
about findings records in `why_wrong` why each of its wrong options is wrong. The caller's `Describe` words the gold
reasoning traces; without one they are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curriculum.task import NO_FINDING, OPTION_LETTERS, Split, Task

RIGHT, WRONG = "✅", "❌"
PRESENT, DENIED, NOT_MENTIONED, UNSURE = "labelled present", "labelled absent", "not mentioned", "labelled uncertain"
"""Why an option is wrong: what the labels say of its finding."""
FILM_SHOWS_SOMETHING = "the film shows a finding"
"""Why "No finding" is wrong."""
VIEWS = ("PA", "AP", "Lateral")
CHANGES = {
    (False, True): "New",
    (True, False): "Resolved",
    (True, True): "Still present",
    (False, False): "Still absent",
}
"""(present before, present now) to the text of the option."""
Describe = Callable[[str, bool], str]
"""(finding, present) to the sentence of a think block."""
Step = tuple[str | None, bool, str]
"""A step of a gold trace: the finding (None: another option), whether it is present, and the answer with its mark."""


@dataclass(frozen=True)
class LabelledFilm:
    """One image and its truth.

    Attributes:
        id: starts the ids of the film's tasks.
        image: path of the image.
        findings: those that are present. Every other name of the vocabulary that is neither unsure nor unasked is
            absent.
        split: of the film's tasks.
        patient: of the film's tasks.
        provenance: view, sex, age, source, licence and attribution of the film's tasks.
        noticed: the findings that the writer of the gold traces noticed; None if all. Gold and report are the truth.
        unsure: findings that may be present. Only `certainty` asks about them.
        denied: those of the absent findings that the labels say to be absent; the others are only not mentioned.
        unasked: findings that nobody looked for. Nothing is asked about them.
    """

    id: str
    image: str
    findings: tuple[str, ...]
    split: Split
    patient: str
    provenance: dict[str, Any] = field(default_factory=dict)
    noticed: tuple[str, ...] | None = None
    unsure: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    def label_of(self, name: str) -> str:
        """What the labels say of a finding."""
        for label, names in ((PRESENT, self.findings), (UNSURE, self.unsure), (DENIED, self.denied)):
            if name in names:
                return label
        return NOT_MENTIONED

    def noticed_of(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that the writer of the traces took to be present."""
        seen = self.findings if self.noticed is None else self.noticed
        return [name for name in names if name in seen]

    def task(self, suffix: str, **fields: Any) -> Task:
        """A task about this film; `suffix` ends its id."""
        return Task(
            id=f"{self.id}-{suffix}",
            images=(self.image,),
            split=self.split,
            patient=self.patient,
            **self.provenance,
            **fields,
        )


class QuestionWriter:
    """Writes tasks about films.

    Args:
        prevalence: every finding that was looked for in the films, to how common it is in the set (any unit).
            Wrong options are drawn by it, so that the name of an option does not reveal whether it is right.
        together: finding to how common each other finding is beside it, in the same unit. If it is given, wrong options
            are drawn by it, too, so that those are common that could be there.
        healthy: share of films without any finding. "No finding" is offered as a wrong option for the other films so
            often that it is right no more often than another option, as far as their number allows.
        describe: writes the think sentences of gold traces; None leaves `reference` empty.
    """

    def __init__(
        self,
        prevalence: Mapping[str, float],
        healthy: float,
        describe: Describe | None = None,
        together: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.prevalence = prevalence
        self.healthy = healthy
        self.describe = describe
        self.together = together or {}

    def binary(self, film: LabelledFilm, rng: np.random.Generator) -> Task:
        """Is one finding present? For a film with findings "Yes" is right more often, to make up for healthy films."""
        ask_present = bool(film.findings) and (rng.random() < 0.6 or not self.absent(film))
        finding = str(rng.choice(film.findings)) if ask_present else self.distractors(film, 1, rng)[0]
        letter = "A" if ask_present else "B"
        noticed = bool(film.noticed_of([finding]))
        steps = [(finding, noticed, f"A) {_mark(noticed)}"), (None, not noticed, f"B) {_mark(not noticed)}")]
        trace = self.trace(steps, "A" if noticed else "B")
        return film.task(
            f"binary-{_slug(finding)}",
            domain="closed",
            family="binary",
            question=f"Is there {finding}?",
            options={"A": "Yes", "B": "No"},
            why_wrong={"B" if ask_present else "A": film.label_of(finding)},
            gold=(letter,),
            reference=trace,
        )

    def certainty(self, film: LabelledFilm, finding: str) -> Task:
        """Is a finding present, absent, or uncertain?"""
        label = film.label_of(finding)
        gold = {PRESENT: "A", UNSURE: "C"}.get(label, "B")
        return film.task(
            f"certainty-{_slug(finding)}",
            domain="closed",
            family="certainty",
            question=f"Is there {finding}?",
            options={"A": "Yes", "B": "No", "C": "Uncertain"},
            why_wrong={letter: label for letter in "ABC" if letter != gold},
            gold=(gold,),
            reference=self.trace([], gold),
        )

    def single_choice(self, film: LabelledFilm, rng: np.random.Generator, n_options: int = 4) -> Task:
        """Which one of the options does the film show? A healthy film's right option is "No finding"."""
        gold = str(rng.choice(film.findings)) if film.findings else NO_FINDING
        wrong = self.wrong_options(film, n_options - 1, n_options, rng)
        return self._choice(film, rng, "single_choice", "Which finding is seen?", [gold], wrong)

    def multiple_choice(self, film: LabelledFilm, rng: np.random.Generator, n_options: int = 4) -> Task:
        """Which of the options does the film show? One or more are right."""
        right = list(rng.permutation(film.findings)[: n_options - 1]) or [NO_FINDING]
        wrong = self.wrong_options(film, n_options - len(right), n_options, rng)
        return self._choice(film, rng, "multiple_choice", "Which findings are seen?", right, wrong)

    def diagnosis(self, film: LabelledFilm, rng: np.random.Generator, n_candidates: int = 4) -> Task:
        """Name the findings. The gold trace weighs `n_candidates` names, the present ones among them."""
        distractors = self.distractors(film, max(1, n_candidates - len(film.findings)), rng)
        # In one order for all films: a random order cannot be learnt, and greedy decoding of it repeats a name.
        candidates = sorted((*film.findings, *distractors), key=list(self.prevalence).index)
        trace = None
        if self.describe:
            noticed = film.noticed_of(candidates)
            steps = [(name, name in noticed, f"{name} {_mark(name in noticed)}") for name in candidates]
            listing = f"<think>Candidates to weigh.</think><answer>{', '.join(candidates)}</answer>"
            final = ", ".join(noticed) or NO_FINDING
            trace = listing + _trace(steps, final, self.describe)
        return film.task(
            "diagnosis",
            domain="open",
            family="diagnosis",
            question="Name all findings.",
            gold=film.findings,
            reference=trace,
        )

    def report(self, film: LabelledFilm, rng: np.random.Generator) -> Task:
        """A sentence about every finding, in random order: text without steps, from which SFT learns to see.

        Raises:
            ValueError: the writer has no `describe`.
        """
        if self.describe is None:
            raise ValueError("a report needs a QuestionWriter with `describe`")
        asked = {*film.findings, *self.absent(film)}
        names = [str(name) for name in rng.permutation(list(self.prevalence)) if name in asked]
        text = " ".join(self.describe(name, name in film.findings) for name in names)
        return film.task(
            "report",
            domain="open",
            form="text",
            family="report",
            question="Describe the film.",
            gold=(text,),
            reference=text,
        )

    def view(self, film: LabelledFilm) -> Task:
        """How was the film taken? Its view must be one of VIEWS."""
        options = dict(zip(OPTION_LETTERS, VIEWS, strict=False))
        gold = next(letter for letter, view in options.items() if view == film.provenance["view"])
        return film.task(
            "view",
            domain="closed",
            family="view",
            question="Which view is the film?",
            options=options,
            gold=(gold,),
            reference=self.trace([], gold),
        )

    def matching(self, film: LabelledFilm, text: str, other: str | None, rng: np.random.Generator) -> Task:
        """Does a text belong to the film? It is the film's own `text` or, half of the time, `other`, of another film.

        With `other` None it is always the film's own.
        """
        own = other is None or bool(rng.random() < 0.5)
        letter = "A" if own else "B"
        return film.task(
            "matching",
            domain="closed",
            family="image_text_matching",
            options={"A": "Yes", "B": "No"},
            question=f"Does this text describe the film? {text if own else other}",
            gold=(letter,),
            reference=self.trace([], letter),
        )

    def progression(self, before: LabelledFilm, film: LabelledFilm, finding: str) -> Task:
        """What became of a finding between two films of a patient, according to their labels."""
        options = dict(zip(OPTION_LETTERS, CHANGES.values(), strict=False))
        change = CHANGES[finding in before.findings, finding in film.findings]
        gold = next(letter for letter, text in options.items() if text == change)
        task = film.task(
            f"progression-{_slug(finding)}",
            domain="closed",
            family="progression",
            options=options,
            gold=(gold,),
            question=f"What became of {finding} since the prior film?",
            reference=self.trace([], gold),
        )
        return task.model_copy(
            update={"images": (before.image, film.image), "captions": ("prior film", "current film")}
        )

    def section(self, film: LabelledFilm, name: str, text: str, indication: str = "") -> Task:
        """Write the "findings" or the "impression" of the film's report; the question may give the indication."""
        family = f"{name}_with_indication" if indication else name
        suffix = f" Indication: {indication}" if indication else ""
        return film.task(
            family.replace("_", "-"),
            domain="open",
            form="text",
            family=family,
            question=f"Write the {name} section of the report.{suffix}",
            gold=(text,),
            reference=self.trace([], text),
        )

    def grounding(self, film: LabelledFilm, finding: str, boxes: Sequence[str]) -> Task:
        """Where is a finding? `boxes` are texts as `boxes.write_box` writes them."""
        return film.task(
            f"grounding-{_slug(finding)}",
            domain="open",
            form="boxes",
            family="grounding",
            gold=tuple(boxes),
            question=f"Where is {finding}? Answer with boxes [left, top, right, bottom] in thousandths of the film.",
            reference=self.trace([], ", ".join(boxes)),
        )

    def phrase_grounding(self, film: LabelledFilm, number: int, phrase: str, boxes: Sequence[str]) -> Task:
        """Where is what a sentence says? `number` tells the sentences of the film apart; `boxes` as in `grounding`."""
        return film.task(
            f"phrase-{number}",
            domain="open",
            form="boxes",
            family="phrase_grounding",
            gold=tuple(boxes),
            question=f'Where is "{phrase}" seen? '
            "Answer with boxes [left, top, right, bottom] in thousandths of the film.",
            reference=self.trace([], ", ".join(boxes)),
        )

    def absent(self, film: LabelledFilm) -> list[str]:
        """The findings that were looked for and that the film does not show."""
        hidden = {*film.findings, *film.unsure, *film.unasked}
        return [name for name in self.prevalence if name not in hidden]

    def distractors(self, film: LabelledFilm, count: int, rng: np.random.Generator) -> list[str]:
        """`count` different findings that the film does not show, drawn by prevalence and by what goes together.

        A name's weight is its share of all findings, and for each finding of the film that `together` knows, the share
        of films with that finding that show the name, too.
        """
        absent = self.absent(film)
        weights = np.array([self.prevalence[name] for name in absent], float)
        total = weights.sum()
        for finding in film.findings:
            beside = self.together.get(finding, {})
            weights += [total * beside.get(name, 0) / self.prevalence[finding] for name in absent]
        return [str(name) for name in rng.choice(absent, size=count, replace=False, p=weights / weights.sum())]

    def wrong_options(self, film: LabelledFilm, count: int, n_options: int, rng: np.random.Generator) -> list[str]:
        """`count` distractors; if the film has findings, "No finding" may replace one of them."""
        wrong = self.distractors(film, count, rng)
        if film.findings and rng.random() * (1 - self.healthy) < (n_options - 1) * self.healthy:
            wrong[0] = NO_FINDING
        return wrong

    def _choice(
        self,
        film: LabelledFilm,
        rng: np.random.Generator,
        family: str,
        question: str,
        right: list[str],
        wrong: list[str],
    ) -> Task:
        order = [str(name) for name in rng.permutation([*right, *wrong])]
        options = dict(zip(OPTION_LETTERS, order, strict=False))
        gold = tuple(letter for letter, name in options.items() if name in right)
        # The question says that some are right, so a writer who noticed none looks again and finds them all.
        noticed = film.noticed_of(right) or right
        steps = [(name, name in noticed, f"{letter}) {_mark(name in noticed)}") for letter, name in options.items()]
        final = ", ".join(letter for letter, name in options.items() if name in noticed)
        why_wrong = {}
        for letter, name in options.items():
            if name in wrong:
                why_wrong[letter] = FILM_SHOWS_SOMETHING if name == NO_FINDING else film.label_of(name)
        return film.task(
            family,
            domain="closed",
            family=family,
            question=question,
            options=options,
            why_wrong=why_wrong,
            gold=gold,
            reference=self.trace(steps, final),
        )

    def trace(self, steps: Sequence[Step], final: str) -> str | None:
        """The gold response: a think–answer pair for each step, then the summary pair. None without `describe`."""
        return None if self.describe is None else _trace(steps, final, self.describe)


def _trace(steps: Sequence[Step], final: str, describe: Describe) -> str:
    pairs = []
    for name, present, answer in steps:
        pairs.append((describe(name, present) if name else "The other option.", answer))
    pairs.append(("In sum.", final))
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def _mark(right: bool) -> str:
    return RIGHT if right else WRONG


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
