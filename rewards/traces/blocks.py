"""Composes the think blocks of a trace: a sentence that holds, in one of many forms, never the same one twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from random import Random

from rewards.comparison.facts import Facts, agreement, facts_of
from rewards.traces.film import Film, common_findings
from rewards.traces.phrases import assertions_of, denials_of, filled, load_phrases

TOP = 3
"""Sentences of a report from which the one to use is drawn."""
OPEN = "the report leaves a finding open"
CONTRADICTED = "the report contradicts the answer"
SILENT = "the report is silent on a right answer"
UNKNOWN = "its options or candidates are no known findings"
NO_WORDS = "no sentence says just what is needed"


_BORDERLINE = re.compile(r"\b(?:borderline|upper limits?|top normal)\b", re.IGNORECASE)


class NoTrace(Exception):
    """There is no trace of a task. The text is the reason, one of a few that can be counted."""


class Blocks:
    """Writes the think blocks of one trace.

    Args:
        film: by its report.
        truth: finding to whether it is present, by the gold. A sentence that contradicts it is not used.
        draw: of all choices.
    """

    def __init__(self, film: Film, truth: Mapping[str, bool], draw: Random) -> None:
        self.film, self.draw = film, draw
        self.truth = dict.fromkeys(film.facts.kinds, True) | dict.fromkeys(film.facts.absent, False) | dict(truth)
        self._used: set[str] = set()

    def on(self, finding: str, is_present: bool, ends: Sequence[str] = ()) -> str:
        """A block that says of a finding whether it is present.

        Args:
            ends: what may be said after it.

        Raises:
            NoTrace: the report does not support it.
        """
        self._check(finding, is_present)
        expected = Facts.of(frozenset([finding] * is_present), frozenset([finding] * (not is_present)))
        for sentence in self._sentences(finding, is_present):
            for block in self._forms(finding, sentence, ends):
                if self.holds(block, expected):
                    self._used.add(sentence)
                    return block
        raise NoTrace(NO_WORDS)

    def on_normal(self, is_right: bool, findings: Iterable[str]) -> str:
        """A block on the option that nothing is found.

        Args:
            findings: those of the gold, if it is wrong.

        Raises:
            NoTrace: the report does not support it.
        """
        if not is_right:
            names = list(findings)
            self.draw.shuffle(names)
            if not names:
                raise NoTrace(UNKNOWN)
            return f"{self.on(names[0], True)} {self.draw.choice(load_phrases().not_normal)}"
        if any(self.film.stance(finding) in ("present", "open") for finding in common_findings()):
            raise NoTrace(OPEN)
        found = [observation.text for observation in self.film.normal_observations]
        found = [text for text in found if self.holds(text, Facts.of(frozenset(), frozenset()))]
        fresh = ([text for text in found if text not in self._used] or found)[:TOP]
        self.draw.shuffle(fresh)
        if not fresh and self.film.is_reported:
            raise NoTrace(NO_WORDS)
        sentences = fresh[: self.draw.choice((1, 2))] or ["Nothing abnormal is seen."]
        self._used.update(sentences)
        if self.draw.random() < 0.5:
            sentences.append(self.draw.choice(load_phrases().normal))
        return " ".join(sentences)

    def holds(self, block: str, expected: Facts) -> bool:
        """Whether a block says what is expected, and nothing that is known to be false."""
        held = agreement(facts_of(block), expected, self.truth)
        return held.contradict == 0 and held.missing == 0

    def _check(self, finding: str, is_present: bool) -> None:
        stance = self.film.stance(finding)
        if stance == "open":
            raise NoTrace(OPEN)
        if stance == ("absent" if is_present else "present"):
            raise NoTrace(CONTRADICTED)
        if stance == "silent" and is_present and self.film.is_reported:
            raise NoTrace(SILENT)

    def _sentences(self, finding: str, is_present: bool) -> Iterator[str]:
        """What may be said, best first: the report's own sentences that are not used yet, then others."""
        own = [observation.text for observation in self.film.supports(finding, is_present)]
        fresh = [text for text in own if text not in self._used][:TOP]
        self.draw.shuffle(fresh)
        if is_present and any(_BORDERLINE.search(text) for text in own):
            written = []  # a short sentence would leave that out
        elif is_present:
            written = assertions_of(finding, self.film.mention_of(finding), self.draw)
        else:
            written = denials_of(finding, self.draw)
        return chain(fresh, (text for text in written if text not in self._used), own)

    def _forms(self, finding: str, sentence: str, ends: Sequence[str]) -> list[str]:
        """A sentence in several forms, in a random order that prefers the short ones; the bare one is the last."""
        lead = filled(self.draw.choice(load_phrases().leads), finding, self.draw)
        forms = [sentence, sentence, f"{lead} {sentence}"]
        if ends:
            end = filled(self.draw.choice(ends), finding, self.draw)
            forms += [f"{sentence} {end}", f"{lead} {sentence} {end}"]
        self.draw.shuffle(forms)
        return [*forms, sentence]
