"""What a report says of its film: its observations, and where it stands on a finding."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache, cached_property, lru_cache
from typing import Literal

from rewards.comparison.facts import Facts, facts_from
from rewards.findings.extract import Mentions, mentions_of
from rewards.findings.mention import Mention, Status
from rewards.findings.ontology import load_ontology
from rewards.findings.signs import is_sign, load_signs
from rewards.traces.observations import Observation, film_text, kinds_of, observations
from rewards.traces.phrases import load_phrases

SAYS_NOTHING = "the report says nothing of its film"
NOT_READ = "the report is in no language that is read here"
MIN_KNOWN = 0.4
"""The least share of a report's words that are known: in English it is nine tenths, in Spanish or German one fifth."""
_INSIDE = re.compile(
    r"\b(?:lungs?|heart|cardi\w+|pleur\w+|effusions?|pneumothora\w+|chest|consolidat\w+)", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+")

Stance = Literal["present", "absent", "open", "silent"]
"""Of a report on a finding. "open": it doubts it, contradicts itself, or names a sign of it or what it is a kind of."""


class Film:
    """A film by its report. An empty report is silent on everything."""

    def __init__(self, report: str) -> None:
        self.report = report
        self.is_reported = bool(report.strip())
        self.observations = observations(report)
        self._mentions = mentions_of(film_text(report))
        self._named = [mention for mention in self._mentions if not is_sign(mention.finding)]

    @cached_property
    def facts(self) -> Facts:
        """What the report asserts and denies by name."""
        return facts_from(self._named)

    @cached_property
    def _with_signs(self) -> Facts:
        return facts_from(self._mentions)

    @cached_property
    def fault(self) -> str:
        """Why nothing can be learnt from the report, "" if something can or there is none."""
        words = _WORD.findall(film_text(self.report).casefold())
        if not self.is_reported:
            return ""
        if not (self.observations or self._named):
            return SAYS_NOTHING
        known = load_ontology().words | {*load_phrases().words["english"]}
        return "" if sum(word in known for word in words) >= MIN_KNOWN * len(words) else NOT_READ

    @cached_property
    def _doubted(self) -> frozenset[str]:
        return Mentions(tuple(self._named)).within("all")["uncertain"]

    def stance(self, finding: str) -> Stance:
        """Where the report stands on a finding of the ontology."""
        said = self.facts.says(finding)
        if said:
            return "present"
        if finding in self._doubted or (self.facts.names(finding) and said is None):
            return "open"
        if said is False:
            return "absent"
        if self._with_signs.hinted(finding, is_present=True):
            return "open"
        wider = set(load_ontology().findings[finding].ancestors) - {finding}
        is_named_wider = any(mention.finding in wider and mention.status != "absent" for mention in self._named)
        return "open" if is_named_wider else "silent"

    def supports(self, finding: str, is_present: bool) -> list[Observation]:
        """The observations that assert a finding, or those that deny it, the most telling first.

        Those with fewer other findings come first, then those that say more of this one.
        """
        status: Status = "present" if is_present else "absent"
        found = []
        for observation in self.observations:
            about = [mention for mention in observation.mentions if _is_about(mention, finding)]
            if about and all(mention.status == status for mention in about):
                qualities = sum(bool(part) for mention in about for part in mention[2:])
                found.append((len(observation.mentions) - len(about), -qualities, observation))
        return [observation for _, _, observation in sorted(found, key=lambda entry: entry[:2])]

    def mention_of(self, finding: str) -> Mention | None:
        """The fullest mention that asserts a finding."""
        asserted = [mention for mention in self._named if _is_about(mention, finding) and mention.status == "present"]
        return max(asserted, key=lambda mention: sum(map(bool, mention[2:])), default=None)

    @property
    def normal_observations(self) -> list[Observation]:
        """The observations that something is as it should be; those of the chest's inside first."""
        found = [observation for observation in self.observations if _is_normal(observation)]
        return sorted(found, key=lambda observation: _INSIDE.search(observation.text) is None)

    def missed_by(self, asserted: Collection[str]) -> str:
        """A finding of NIH ChestX-ray14 that the report asserts and an answer does not, "" if there is none.

        Args:
            asserted: the findings that the answer asserts.
        """
        wider = {kind for name in asserted if name in load_ontology().findings for kind in _ancestors(name)}
        for finding in common_findings():
            is_covered = finding in wider or not set(_ancestors(finding)).isdisjoint(asserted)
            if not is_covered and self.stance(finding) == "present":
                return finding
        return ""


@cache
def common_findings() -> tuple[str, ...]:
    """The findings of NIH ChestX-ray14."""
    return tuple(finding.name for finding in load_ontology().findings.values() if finding.nih)


def _ancestors(name: str) -> tuple[str, ...]:
    return load_ontology().findings[name].ancestors


def _is_normal(observation: Observation) -> bool:
    words = {word.strip(".,;:()").casefold() for word in observation.text.split()}
    tables = load_phrases().words
    speaking = {_speaks_for(mention) for mention in observation.mentions}
    if True in speaking or words & {*tables["abnormal"]} or observation.is_rewritten:
        return False
    return False in speaking or not words.isdisjoint(tables["normal"])


def _speaks_for(mention: Mention) -> bool:
    """Whether a mention speaks for something abnormal, or leaves that open."""
    if mention.status == "uncertain":
        return True
    sign = load_signs().signs.get(mention.finding)
    is_abnormal = sign is None or sign.speaks_for
    return is_abnormal == (mention.status == "present")


def _is_about(mention: Mention, finding: str) -> bool:
    return mention.finding == finding or (mention.status != "absent" and finding in kinds_of(mention))


@lru_cache(maxsize=256)  # the tasks of a film share its report
def film_of(report: str) -> Film:
    """The film of a report."""
    return Film(report)
