"""Reads an answer block: marks, option letters, lists of names. What cannot be read with certainty is not guessed."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.findings.sentence_reader import Status

_RIGHT = "✅✔✓☑"
_WRONG = "❌✖✗✘"
_MARKS = _RIGHT + _WRONG
_MARK = re.compile(f"([{_MARKS}])\ufe0f?")
_AFTER_MARK = re.compile(rf"(?<=[{_MARKS}])\s*(?=[^\s{_MARKS}])")
_BEFORE_MARK = re.compile(rf"(?<=[^\s{_MARKS}])\s*(?=[{_MARKS}])")
_DECORATION = re.compile(
    r"\*+(?=\S)|(?<=\S)\*+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|[$`\"“”„«»\ufe0f]|(?<!\w)['‘’]|['‘’](?!\w)"
    r"|\\[()\[\]]|\\(?:text|math)(?:bf|it|rm)?(?=\{)"
)
_DARK_CIRCLES = {0x1F150 + n: letter for n, letter in enumerate(string.ascii_uppercase)}  # 🅐 …
_DARK_SQUARES = {0x1F170 + n: letter for n, letter in enumerate(string.ascii_uppercase)}  # 🅰 …
_DARK_LETTERS = _DARK_CIRCLES | _DARK_SQUARES
"""Letters that NFKC leaves as they are."""

# Runs of white space are possessive (*+) if another may follow: else a failed match tries every cut between them.
_LEAD = (
    r"(?:[-•*–]\s*+)?(?:(?:so|thus|hence|therefore)\b,?\s*+)?(?:i\s++(?:choose|pick|select)\s++|it(?:\s++is|['’]s)\s++)?"
    r"(?:(?:the\s++|my\s++)?(?:(?:final|correct|right|best)\s++)?(?:answer|option|choice|letter)s?\b"
    r"(?:\s++(?:is|are)\b)?\s*+[:=]?\s*+)?(?:both\s++)?(?:\\boxed)?[(\[{]*\s*+"
)
_TAIL = re.compile(
    r"\s++(?:is|are)(?:\s++the)?\s++(?:correct|right|true|best)(?:\s++(?:answer|option|choice|one)s?)?[.!]?",
    re.IGNORECASE,
)
_BETWEEN_OPTIONS = re.compile(r"[^\S\n]*(?:[,;/&+|、\n]|and\b)(?:[\s,;/&+|、]|and\b)*", re.IGNORECASE)
_PLAIN = re.compile(r"[(\[]?([A-G])(?:[)\].:]\s*|\Z)(\S.*)?", re.IGNORECASE)
_LETTERED = re.compile(r"[(\[]?([A-G])[)\]}.:]*\s++(\S.*)", re.IGNORECASE | re.DOTALL)
_FIRST_WORDS = re.compile(_LEAD, re.IGNORECASE)

_YES_NO = {
    "yes": r"yes|yeah|yep|y|true|positive|affirmative|present",
    "no": r"nope|not\s+present|no|n|false|negative|absent",
}
_DENIAL = re.compile(r"\b(?:no|not|none|never|without|nope)\b|n['’]t\b", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:may|might|maybe|perhaps|possibl[ey]|probabl[ey]|unsure|unclear|uncertain|cannot|but|or)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"[\s,.;:–—-](?!.*\b[B-G]\b)\W*\w\w", re.DOTALL)  # a word or more, no other letter
MAX_CHARACTERS = 1000  # of an answer that names options or findings; a longer one is not an answer
_MAX_RESTATEMENT = 200  # characters of "Yes, …" or "No, …"; a longer one is not an answer

_PLAIN_LIST = re.compile(
    r"(?:(?!and(?: |\Z))[A-Za-z]++[ ,]*+)*+", re.IGNORECASE
)  # no more than words, blanks and commas
_BETWEEN_NAMES = re.compile(r"[,;\n/&•·、+|]|(?<!\S)and(?!\S)|(?<!\S)\d{1,2}[.)](?=\s)", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*–—]|\d{1,2}[.)])\s+")
_LABEL = re.compile(
    r"(?:the\s+)?(?:(?:final|main|most\s+likely|key|radiographic|radiological|differential)\s+)*"
    r"(?:answers?|diagnos[ie]s|findings?|candidates?|differentials?|impressions?|conclusions?|abnormalit(?:y|ies))"
    r"(?:\s*:|\s+(?:is|are|includes?)\b:?)",
    re.IGNORECASE,
)


def read_marks(answer: str) -> tuple[str, list[bool]]:
    """The answer without its marks, stripped, and the marks in order: True for ✅ ✔ ✓ ☑, False for ❌ ✖ ✗ ✘.

    No marks are read in more than `MAX_CHARACTERS` characters: that is not an answer.
    """
    if answer.isascii() or len(answer) > MAX_CHARACTERS:
        return answer.strip(), []
    name, last = answer[:-1], answer[-1]
    if name.isascii() and last in _MARKS:  # as nearly all answers with a mark are
        return name.strip(), [last in _RIGHT]
    marks = [mark in _RIGHT for mark in _MARK.findall(answer)]
    return (_MARK.sub("", answer) if marks else answer).strip(), marks


def read_option(answer: str, options: Mapping[str, str]) -> str | None:
    """The one option that an answer without marks names, read as by `read_options`; None unless it is just one."""
    named = read_options(answer, options)
    return named[0] if named and len(named) == 1 else None


def _undecorated(answer: str) -> str:
    """The answer with full-width and circled letters as plain ones, without quotes, Markdown and LaTeX markup."""
    if not answer.isascii():
        answer = unicodedata.normalize("NFKC", answer.translate(_DARK_LETTERS))
    return _DECORATION.sub("", answer).strip()


def read_options(answer: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The option letters that an answer without marks names, sorted, each once; None if it cannot be read.

    Letters are read ("B", "(b)", "B) Edema", "Answer: B", "A and C"), and so are the options' own texts and synonyms of
    them ("edema", "enlarged heart"), in any case and width. If the options are Yes and No, the usual words for them are
    read too, with a sentence after them that says the same. Everything in the answer must be part of such a wording: a
    letter inside a word, an unknown letter, a letter with another option's text, a "not" or any other word makes it
    unreadable.
    """
    if len(answer) > MAX_CHARACTERS:
        return None
    text = _undecorated(answer)
    plain = _PLAIN.fullmatch(text)
    if plain:  # as nearly all answers are: a letter, with its text or alone
        letter, rest = plain[1].upper(), plain[2]
        if letter in options and (rest is None or rest.casefold() == options[letter].casefold()):
            return (letter,)
    item = _option_pattern(tuple(options.items()))
    letters: set[str] = set()
    position = 0
    while True:
        match = item.match(text, position)
        if match is None:
            break
        letters.add(_letter(match, options))
        if match.end() == len(text) or _TAIL.fullmatch(text, match.end()):
            return tuple(sorted(letters))
        between = _BETWEEN_OPTIONS.match(text, match.end())
        if between is None:
            break
        position = between.end()
    return _restated(text, options, item) if are_yes_no(options) else _by_synonyms(text, options)


@lru_cache(maxsize=1024)  # a group's responses share their options
def _option_pattern(options: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """One option: group oN holds its letter with or without its text, group tN its text alone."""
    is_yes_no = are_yes_no(dict(options))
    numbered = [
        (number, letter, unicodedata.normalize("NFKC", text).strip()) for number, (letter, text) in enumerate(options)
    ]

    def words(text: str) -> str:
        if is_yes_no:
            return rf"(?:{_YES_NO[text.casefold()]})"
        return r"\s++".join(re.escape(word) for word in text.split())

    alone = []
    for number, letter, text in sorted(numbered, key=lambda option: -len(option[2])):  # "No finding" before "No"
        if text:
            alone.append(rf"(?P<t{number}>{words(text)}(?:\s*+[(\[](?:option\s++)?{letter}[)\]])?)")
    lettered = []
    for number, letter, text in numbered:
        own_text = rf"(?:\s*+[-–—=]?\s*+[(\[]?{words(text)}(?!\w))?" if text else ""
        lettered.append(rf"(?P<o{number}>{re.escape(letter)}(?!\w)(?:\s*+[)\]}}.:]+)?{own_text})")
    # The texts come first: "A normal film" may be an option, and its first letter another one.
    return re.compile(rf"{_LEAD}(?:{'|'.join(alone + lettered)})(?!\w)[)\]}}.!]*", re.IGNORECASE)


def _letter(match: re.Match[str], options: Mapping[str, str]) -> str:
    return tuple(options)[int(_group_of(match)[1:])]


def _group_of(match: re.Match[str]) -> str:
    """The name of the group of `_option_pattern` that matched: one always does."""
    assert match.lastgroup is not None
    return match.lastgroup


def are_yes_no(options: Mapping[str, str]) -> bool:
    """Whether the options are Yes and No, in any order and case."""
    return sorted(text.strip().casefold() for text in options.values()) == ["no", "yes"]


def _restated(text: str, options: Mapping[str, str], item: re.Pattern[str]) -> tuple[str, ...] | None:
    """ "Yes, there is an effusion": the option of the first word, unless the rest doubts it or says the opposite."""
    match = item.match(text)
    if match is None or len(text) > _MAX_RESTATEMENT:
        return None
    rest = text[match.end() :]
    if not _SENTENCE.match(rest) or _DOUBT.search(rest):
        return None
    if len(match[_group_of(match)]) == 1 and text[match.end() - 1].isalpha():
        return None  # "A normal film": an article, not an option
    letter = _letter(match, options)
    sentence = rest if re.match(r"\s*[,.;:–—-]", rest) else text  # "No evidence of …" is a sentence as a whole
    statuses = {mention.status for mention in extract(sentence).mentions}
    if options[letter].strip().casefold() == "yes":
        is_contradicted = _DENIAL.search(rest) or statuses & {"absent", "uncertain"}
    else:
        is_contradicted = re.search(r"\byes\b", rest, re.IGNORECASE) or statuses & {"present", "uncertain"}
    return None if is_contradicted else (letter,)


def _by_synonyms(text: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """Options by synonyms of their findings, with or without their letters; None if the text holds anything else."""
    letters_of: dict[str, list[str]] = {}
    for letter, option in options.items():
        letters_of.setdefault(canonical(option), []).append(letter)

    def read(part: str) -> str | None:
        if part.upper() in options:
            return part.upper()
        lettered = _LETTERED.fullmatch(part)
        if lettered and letters_of.get(canonical(lettered[2])) == [lettered[1].upper()]:
            return lettered[1].upper()
        candidates = letters_of.get(canonical(part), [])
        return candidates[0] if len(candidates) == 1 else None

    letters: set[str] = set()
    for part in split_names(_FIRST_WORDS.sub("", text, count=1)):
        found = read(part)
        if found is None:
            return None
        letters.add(found)
    return tuple(sorted(letters)) or None


def split_names(answer: str) -> list[str]:
    """The names of a list, in order: split at , ; / & + "and", bullets, numbers and line ends.

    A heading such as "Findings:" and brackets and quotes around names are dropped. Names stay as written, with their
    marks.
    """
    is_plain = _PLAIN_LIST.fullmatch(answer) is not None  # as nearly all lists are
    text = answer.strip() if is_plain else _undecorated(answer).replace("\\boxed", "").strip()
    label = _LABEL.match(text)
    if label:
        text = text[label.end() :]
    if is_plain:
        names = [part.strip() for part in text.split(",")]
    else:
        parts = [_BULLET.sub("", part.strip(), count=1) for part in _BETWEEN_NAMES.split(text)]
        names = [part.strip(" \t\r\f\v.:[](){}'’") for part in parts]
    return [name for name in names if name]


def read_findings(answer: str) -> tuple[str, ...] | None:
    """The findings that a list asserts, by canonical name, sorted; () for a healthy film.

    A name with ❌ is not asserted, nor is one that its own words deny ("no effusion"). One that they leave open
    ("possible pneumonia") counts as not written. An unknown name stands for itself.

    Returns:
        None if nothing can be read, or if the list contradicts itself ("Edema, no edema"; "Edema, No finding").
    """
    asserted: set[str] = set()
    denied: set[str] = set()
    for part in split_names(answer):
        for piece in _at_marks(part):
            name, marks = read_marks(piece)
            if not name:
                continue
            if len(set(marks)) > 1:
                return None
            for finding, status in statuses_in(name):
                if status == "absent" or marks[:1] == [False]:
                    denied.add(finding)
                elif status == "present":
                    asserted.add(finding)
    is_healthy = NO_FINDING in asserted or (not asserted and bool(denied - {NO_FINDING}))
    if asserted & denied or (NO_FINDING in asserted and len(asserted) > 1) or not (asserted or is_healthy):
        return None
    return () if is_healthy else tuple(sorted(asserted))


def _at_marks(part: str) -> list[str]:
    """Splits "Edema ✅ Mass ❌" and "✅ Edema ❌ Mass" into two names each, with their marks."""
    if part.isascii():
        return [part]
    return (_BEFORE_MARK if _MARK.match(part) else _AFTER_MARK).split(part)


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


def read_finding(name: str) -> str:
    """The one finding that a name asserts, by canonical name; else the name itself, as `canonical` gives it."""
    statuses = statuses_in(name)
    finding, status = statuses[0]
    is_one = statuses.count(statuses[0]) == len(statuses)
    return finding if is_one and status == "present" else canonical(name)
