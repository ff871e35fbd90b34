"""Reads a list of findings: "Edema, small left effusion; no mass", "1. Edema⏎2. Effusion", "Lungs are clear."."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.findings.sentence_reader import Status
from rewards.findings.signs import load_signs
from rewards.reading.groups import Group, heading_of, is_remark
from rewards.reading.marks import MAX_CHARACTERS, read_marks, split_at_marks
from rewards.reading.normal import normality
from rewards.reading.plain import plain
from rewards.reading.reading import Reading, unread
from rewards.reading.structured import read_json, without_tables
from rewards.reading.words import tables

_PLAIN_LIST = re.compile(
    r"(?:(?!and(?: |\Z))[A-Za-z]++[ ,]*+)*+", re.IGNORECASE
)  # no more than words, blanks and commas
_BETWEEN_NAMES = re.compile(
    r"[,;\n/&•·、+|]|(?<!\S)(?:and|plus)(?!\S)|(?<!\S)as\s+well\s+as(?!\S)|(?<!\S)\d{1,2}[.)](?=\s)", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[^\W\d_)\]✅❌])(?<!\bvs)[.!](?:\s+|$)|\n+")
_BULLET = re.compile(r"^(?:[-*–—•]|\d{1,2}[.)])\s+")
_EDGES = " \t\r\f\v.:[](){}'’-"
_LABEL = re.compile(
    r"(?:the\s+)?(?:(?:final|main|most\s+likely|key|radiographic|radiological|differential)\s+)*"
    r"(?:answers?|diagnos[ie]s|findings?|candidates?|differentials?|impressions?|conclusions?|abnormalit(?:y|ies)|"
    r"labels?(?:\s+of\s+th(?:is|e)\s+[\w-]+(?:\s+\w+)?)?)"
    r"(?:\s*:|\s+(?:is|are|includes?)\b:?)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:the|these|this)\s+)?(?:chest\s+)?(?:findings?|image|x-?ray|radiograph|film|cxr|appearances?|features?)\s+"
    r"(?:(?:is|are)\s+)?(?:most\s+)?(?:suggests?|suggestive\s+of|indicates?)\b",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"\b(?:no|not|without|negative|free|absent|denies|nil|zero|neither|nor|never|lack|excluded|unlikely|resolved|or|vs|versus|"
    r"possible|possibly|may|might|could|cannot|questionable|suspected)\b|\?|n't\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"\b(?:no|not|without|negative|free|nil|zero|neither|nor)\b", re.IGNORECASE)
_VERDICT = re.compile(r"([^:=(]{1,80}?)\s*(?:(?::|=|\s-)\s*([^\W\d_]+)\.?|\(([^\W\d_]+)\))")
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*+")
_NO_FINDING_ALONE = re.compile(r"no\s+findings?", re.IGNORECASE)


def split_names(answer: str) -> list[str]:
    """The names of a list, in order: split at , ; / & + "and", bullets, numbers and line ends.

    A heading such as "Findings:" and brackets and quotes around names are dropped. Names stay as written, with their
    marks.
    """
    is_plain = _PLAIN_LIST.fullmatch(answer) is not None  # as nearly all lists are
    text = answer.strip() if is_plain else plain(answer)
    text = _without_label(text)
    if is_plain:
        names = [part.strip() for part in text.split(",")]
    else:
        parts = [_BULLET.sub("", part.strip(), count=1) for part in _BETWEEN_NAMES.split(text)]
        names = [part.strip(_EDGES) for part in parts]
    return [name for name in names if name]


def _without_label(text: str) -> str:
    label = _LABEL.match(text) or _LEAD.match(text)
    return text[label.end() :] if label else text


def read_list_of_findings(answer: str) -> Reading:
    """The findings that a list asserts, by canonical name; an empty value for a healthy film. Never raises.

    A name with ❌ is not asserted, nor is one that its own words or its sentence deny ("no effusion or edema"). One
    that they leave open ("possible pneumonia") counts as not written. Words that only qualify ("left", "small", "etc.")
    are no names. An unknown name stands for itself.
    """
    if len(answer) > MAX_CHARACTERS:
        return unread("too long", f"{len(answer)} characters")
    quick = _quick(answer)
    if quick is not None:
        return quick
    said = read_json(answer)
    text = plain(without_tables(said.answer if said else answer))
    if not text:
        return unread("empty")
    found = _Found()
    for sentence in _sentences(_without_label(text)):
        for part in sentence.split(";"):
            if part.strip(_EDGES) and not found.add_sentence(part):
                return unread("contradicts itself", part.strip())
        found.end_sentence()
    return found.reading()


def _quick(answer: str) -> Reading | None:
    """A shortcut for a list of nothing but known names with commas."""
    if not _PLAIN_LIST.fullmatch(answer):
        return None
    names = [canonical(part) for part in answer.split(",")]
    known = load_ontology().findings
    if all(name in known for name in names):
        return Reading(tuple(sorted(set(names))), "a list of names")
    return Reading((), "a normal film") if names == [NO_FINDING] else None


def _sentences(text: str) -> list[str]:
    """The statements of an answer; a list of one name a line is one statement a line."""
    return [part for part in _SENTENCE_END.split(text) if part.strip(_EDGES)]


class _Found:
    """What the sentences of an answer say so far."""

    def __init__(self) -> None:
        self.asserted: set[str] = set()
        self.denied: set[str] = set()
        self.is_open = False
        self.is_healthy = False
        self.is_partly_healthy = False
        self.group: Group = "present"  # that the last heading began
        self.is_group_open = False  # it stood in a line of its own

    def add_sentence(self, sentence: str) -> bool:
        """Adds what a sentence says; False if it marks one name with both marks."""
        sentence = _BULLET.sub("", sentence.strip(), count=1)
        heading = heading_of(sentence)
        if heading:
            self.group, sentence = heading
        text = sentence.strip(_EDGES)
        if heading:
            self.is_group_open = not text
            if not text:
                return True
        if self.group != "present":
            self._add_group(text)
            return True
        if self._add_verdicts(text):
            return True
        said = normality(text)
        if said:
            self.is_healthy |= said == "film"
            self.is_partly_healthy |= said == "part"
            return True
        if text.isascii() and _CUE.search(text):
            self._add_denied_list(", ".join(self._without_no_finding(text)))
            return True
        return self._add_names(sentence)

    def end_sentence(self) -> None:
        """Ends a group whose names stand behind its heading in the same sentence."""
        if not self.is_group_open:
            self.group = "present"

    def _add_group(self, text: str) -> None:
        """Adds the names of a list whose heading denies them or leaves them open."""
        for name in _names_of(text):
            for finding, status in statuses_in(name.strip(_EDGES)):
                if status == "present" and finding != NO_FINDING:
                    self._add(finding, self.group)

    def _add_denied_list(self, sentence: str) -> None:
        """A sentence that denies or doubts: its words govern the names after them, so it is read as a whole."""
        readable = sentence.replace("/", " or ") if _DENIAL.search(sentence) else sentence
        mentions = extract(readable).mentions
        is_choice = re.search(r"\bor\b", sentence, re.IGNORECASE) is not None and not _DENIAL.search(sentence)
        for mention in mentions:
            self._add(mention.finding, "uncertain" if is_choice and mention.status == "present" else mention.status)
        denial = _DENIAL.search(sentence)
        place = 0
        for part in _BETWEEN_NAMES.split(sentence):
            place = sentence.find(part, place)
            said = normality(part.strip(_EDGES))
            if said:
                self.is_healthy |= said == "film"
                self.is_partly_healthy |= said == "part"
                continue
            is_denied = denial is not None and place + len(part) > denial.start()
            name = part.strip(_EDGES)
            if (
                name
                and not is_denied
                and not extract(name).mentions
                and not _is_no_name(name, self.asserted, "")
                and not _CUE.search(name)
            ):
                self._add_name(name)

    def _add_verdicts(self, sentence: str) -> bool:
        """Adds "Edema: yes, Mass - no", a verdict on each name; False if the sentence is no such list."""
        matches = [_VERDICT.fullmatch(part.strip()) for part in _BETWEEN_NAMES.split(sentence) if part.strip()]
        verdicts = [(match[1], _said(match[2] or match[3])) for match in matches if match]
        if not matches or len(verdicts) < len(matches) or any(status is None for _, status in verdicts):
            return False
        for name, status in verdicts:
            for finding, _ in statuses_in(name.strip(_EDGES)):
                self._add(finding, status or "uncertain")
        return True

    def _without_no_finding(self, sentence: str) -> list[str]:
        """The parts of a list but for "No finding" and "normal", which govern nothing that follows."""
        rest = []
        for part in sentence.split(","):
            name = part.strip(_EDGES)
            if _NO_FINDING_ALONE.fullmatch(name) or (normality(name) == "film" and not _DENIAL.search(name)):
                self.is_healthy = True
            else:
                rest.append(part)
        return rest

    def _add_names(self, sentence: str) -> bool:
        for part in _reunited(_names_of(sentence)):
            for piece in split_at_marks(part):
                name, marks = read_marks(piece)
                name = name.strip(_EDGES)
                if not name:
                    continue
                if len(set(marks)) > 1:
                    return False
                self._add_piece(name, marks, sentence)
        return True

    def _add_piece(self, name: str, marks: list[bool], sentence: str) -> None:
        if _is_no_name(name, self.asserted, sentence) or is_remark(name):
            return
        said = normality(name)
        if said and marks[:1] != [False]:
            self.is_healthy |= said == "film"
            self.is_partly_healthy |= said == "part"
            return
        for finding, status in _without_explanation(name):
            self._add(finding, "absent" if marks[:1] == [False] else status)

    def _add_name(self, name: str) -> None:
        for finding, status in statuses_in(name):
            self._add(finding, status)

    def _add(self, finding: str, status: Status) -> None:
        if status == "present":
            self.asserted.add(finding)
        elif status == "absent":
            self.denied.add(finding)
        else:
            self.is_open = True

    def reading(self) -> Reading:
        """The list as a whole; it must not contradict itself."""
        asserted = self.asserted - {NO_FINDING}
        is_healthy = self.is_healthy or NO_FINDING in self.asserted
        if asserted & self.denied:
            return unread("contradicts itself", ", ".join(sorted(asserted & self.denied)))
        if asserted and is_healthy:
            return unread("contradicts itself", f"{NO_FINDING} and {', '.join(sorted(asserted))}")
        if asserted:
            return Reading(tuple(sorted(asserted)), "a list of names")
        if is_healthy or self.is_partly_healthy or self.denied - {NO_FINDING}:
            return Reading((), "a normal film" if not self.denied else "findings denied")
        return unread("hedges") if self.is_open else unread("names nothing")


def _said(word: str) -> Status | None:
    """What a verdict on a name says: "yes", "absent"."""
    if word.casefold() in tables().yes:
        return "present"
    return "absent" if word.casefold() in tables().no else None


def _names_of(sentence: str) -> list[str]:
    """The names of a sentence that neither denies nor doubts; a comma in brackets parts none."""
    text = re.sub(r"\([^()]*\)", lambda match: match[0].replace(",", " "), sentence)
    parts = [_BULLET.sub("", part.strip(), count=1) for part in _BETWEEN_NAMES.split(text)]
    return [part for part in parts if part.strip(_EDGES)]


def _reunited(parts: list[str]) -> list[str]:
    """The names, those of two parts put together: "Thickening, pleural"."""
    known = load_ontology().findings
    names: list[str] = []
    for part in parts:
        if names and canonical(names[-1]) not in known and canonical(f"{part} {names[-1]}") in known:
            names[-1] = f"{part} {names[-1]}"
        else:
            names.append(part)
    return names


def _is_no_name(name: str, asserted: Iterable[str], sentence: str) -> bool:
    """Whether words only qualify the name before ("left", "8 mm"), end the list ("etc."), or repeat it ("COPD")."""
    lowered = name.casefold().strip(" .,")
    if f"{lowered}." in tables().et_cetera or lowered in tables().et_cetera:
        return True
    words = _WORD.findall(lowered)
    table = tables()
    if words and all(word in table.qualifiers or word in table.fillers or word.isdecimal() for word in words):
        return True
    if not words or (len(words) == 1 and words[0] in table.headings) or words == ["final", "diagnosis"]:
        return True
    is_alias = any(lowered in table.aliases.get(finding, ()) for finding in _named_in(sentence, asserted))
    return is_alias and not extract(name).mentions


def _named_in(sentence: str, asserted: Iterable[str]) -> set[str]:
    """The findings of the sentence and those before it."""
    return {mention.finding for mention in extract(sentence).mentions} | set(asserted) if sentence else set(asserted)


@lru_cache(maxsize=4096)  # as `canonical`
def statuses_in(name: str) -> tuple[tuple[str, Status], ...]:
    """The findings that a name of a list mentions, each with its status: "no effusion", "small left effusion".

    An unknown name stands for itself, as present. "Edema or mass" leaves both open.
    """
    known = canonical(name)
    if known in load_ontology().findings or known == NO_FINDING:
        return ((known, "present"),)
    is_choice = re.search(r"\bor\b", name, re.IGNORECASE) is not None
    statuses: list[tuple[str, Status]] = []
    for mention in extract(name).mentions:
        is_open = is_choice and mention.status == "present"
        statuses.append((mention.finding, "uncertain" if is_open else mention.status))
    return tuple(statuses) or ((known, "present"),)


def _without_explanation(name: str) -> tuple[tuple[str, Status], ...]:
    """What a name says, but for a mere sign in brackets after it: "Effusion (blunted costophrenic angle)"."""
    statuses = statuses_in(name)
    outer = name.partition("(")[0]
    if len(statuses) < 2 or outer == name:
        return statuses
    findings = load_ontology().findings
    named = statuses_in(outer.strip(_EDGES))
    explains = [
        status
        for status in statuses
        if status not in named and status[0] in load_signs().signs and status[0] in findings
    ]
    return tuple(status for status in statuses if status not in explains)


def read_finding(name: str) -> str:
    """The one finding that a name asserts, by canonical name; else the name itself, as `canonical` gives it."""
    statuses = statuses_in(name)
    finding, status = statuses[0]
    is_one = statuses.count(statuses[0]) == len(statuses)
    return finding if is_one and status == "present" else canonical(name)
