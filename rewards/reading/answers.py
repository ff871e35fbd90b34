"""Reads what stands in an answer block: marks, option letters, lists of names. What cannot be read surely is not guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.findings.sentence_reader import Status

_RIGHT, _WRONG = "✅✔✓☑", "❌✖✗✘"
_MARKS = _RIGHT + _WRONG
_MARK = re.compile(f"([{_MARKS}])\ufe0f?")
_AFTER_MARK = re.compile(rf"(?<=[{_MARKS}])\s*(?=[^\s{_MARKS}])")
_BEFORE_MARK = re.compile(rf"(?<=[^\s{_MARKS}])\s*(?=[{_MARKS}])")
_DECORATION = re.compile(
    r"\*+(?=\S)|(?<=\S)\*+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|[$`\"“”„«»\ufe0f]|(?<!\w)['‘’]|['‘’](?!\w)"
    r"|\\[()\[\]]|\\(?:text|math)(?:bf|it|rm)?(?=\{)"
)
_DARK_LETTERS = {base + n: chr(ord("A") + n) for base in (0x1F150, 0x1F170) for n in range(26)}  # 🅐 🅰; NFKC leaves them

# Runs of white space are possessive (*+) where another may follow: a failed match would try every cut between them.
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
MAX_CHARACTERS = 1000  # characters of an answer that names options or findings; a longer one is no answer
_MAX_RESTATEMENT = 200  # characters; a longer one is no answer

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

    In more than `MAX_CHARACTERS` characters none are read: that is no answer.
    """
    if answer.isascii() or len(answer) > MAX_CHARACTERS:
        return answer.strip(), []
    name, last = answer[:-1], answer[-1]
    if name.isascii() and last in _MARKS:  # nearly all answers with a mark are such
        return name.strip(), [last in _RIGHT]
    marks = [mark in _RIGHT for mark in _MARK.findall(answer)]
    return (_MARK.sub("", answer) if marks else answer).strip(), marks


def read_option(answer: str, options: Mapping[str, str]) -> str | None:
    """The one option that an answer without marks names, as `read_options`; None where it is not one."""
    named = read_options(answer, options)
    return named[0] if named and len(named) == 1 else None


def _undecorated(answer: str) -> str:
    """Full-width and circled letters as plain ones, without quotes and marks of Markdown and LaTeX."""
    if not answer.isascii():
        answer = unicodedata.normalize("NFKC", answer.translate(_DARK_LETTERS))
    return _DECORATION.sub("", answer).strip()


def read_options(answer: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The option letters that an answer without marks names, sorted, each once; None where it cannot be read.

    Read are letters ("B", "(b)", "B) Edema", "Answer: B", "A and C") and the options' own texts or synonyms of them
    ("edema", "enlarged heart"), in any case and width; where the options are Yes and No, also the usual words for them, with
    a sentence after them that says the same. Everything in the answer must belong to such a form: a letter inside a word,
    an unknown letter, a letter with another option's text, a "not" or any further word make it unreadable.
    """
    if len(answer) > MAX_CHARACTERS:
        return None
    text = _undecorated(answer)
    if plain := _PLAIN.fullmatch(text):  # nearly all answers are: a letter, with its text or alone
        letter, rest = plain[1].upper(), plain[2]
        if letter in options and (rest is None or rest.casefold() == options[letter].casefold()):
            return (letter,)
    item = _option_pattern(tuple(options.items()))
    letters: set[str] = set()
    position = 0
    while match := item.match(text, position):
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
    """One option at a position: group oN is its letter with or without its text, tN its text alone."""
    yes_no = are_yes_no(dict(options))
    # Texts first, the longest first: "No finding" before "No".
    texts = [(unicodedata.normalize("NFKC", text).strip(), index) for index, (_, text) in enumerate(options)]

    def words(text: str) -> str:
        return rf"(?:{_YES_NO[text.casefold()]})" if yes_no else r"\s++".join(re.escape(word) for word in text.split())

    letter_of = list(dict(options))
    alone = [
        rf"(?P<t{i}>{words(text)}(?:\s*+[(\[](?:option\s++)?{letter_of[i]}[)\]])?)"
        for text, i in sorted(texts, key=lambda t: -len(t[0]))
        if text
    ]
    lettered = []
    for (text, i), (letter, _) in zip(texts, options, strict=True):
        own_text = rf"(?:\s*+[-–—=]?\s*+[(\[]?{words(text)}(?!\w))?" if text else ""
        lettered.append(rf"(?P<o{i}>{re.escape(letter)}(?!\w)(?:\s*+[)\]}}.:]+)?{own_text})")
    return re.compile(rf"{_LEAD}(?:{'|'.join(alone + lettered)})(?!\w)[)\]}}.!]*", re.IGNORECASE)


def _letter(match: re.Match[str], options: Mapping[str, str]) -> str:
    return tuple(options)[int(match.lastgroup[1:])]


def are_yes_no(options: Mapping[str, str]) -> bool:
    """Whether the options are Yes and No, in any order and case."""
    return sorted(text.strip().casefold() for text in options.values()) == ["no", "yes"]


def _restated(text: str, options: Mapping[str, str], item: re.Pattern[str]) -> tuple[str, ...] | None:
    """ "Yes, there is an effusion": the option of the first word, unless what follows doubts it or says the opposite."""
    match = item.match(text)
    if match is None or len(text) > _MAX_RESTATEMENT:
        return None
    rest = text[match.end() :]
    if not _SENTENCE.match(rest) or _DOUBT.search(rest):
        return None
    if len(match[match.lastgroup]) == 1 and text[match.end() - 1].isalpha():
        return None  # "A normal film": an article, not an option
    letter = _letter(match, options)
    sentence = rest if re.match(r"\s*[,.;:–—-]", rest) else text  # "No evidence of …" is one
    said = {mention.status for mention in extract(sentence).mentions}
    if options[letter].strip().casefold() == "yes":
        contradicted = _DENIAL.search(rest) or said & {"absent", "uncertain"}
    else:
        contradicted = re.search(r"\byes\b", rest, re.IGNORECASE) or said & {"present", "uncertain"}
    return None if contradicted else (letter,)


def _by_synonyms(text: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """Options by other names of their findings, each with or without its letter; None unless all of the text is such."""
    of_name: dict[str, list[str]] = {}
    for letter, option in options.items():
        of_name.setdefault(canonical(option), []).append(letter)

    def read(part: str) -> str | None:
        if part.upper() in options:
            return part.upper()
        lettered = _LETTERED.fullmatch(part)
        if lettered and of_name.get(canonical(lettered[2])) == [lettered[1].upper()]:
            return lettered[1].upper()
        found = of_name.get(canonical(part), ())
        return found[0] if len(found) == 1 else None

    letters = {read(part) for part in split_names(_FIRST_WORDS.sub("", text, count=1))}
    return None if None in letters or not letters else tuple(sorted(letters))


def split_names(answer: str) -> list[str]:
    """The names of a list, in order: split at , ; / & + "and", bullets, numbers and line ends.

    A heading such as "Findings:", brackets and quotes around names are dropped. Names stay as written, with their marks.
    """
    plain = _PLAIN_LIST.fullmatch(answer)  # as nearly all lists are
    text = answer.strip() if plain else _undecorated(answer).replace("\\boxed", "").strip()
    if label := _LABEL.match(text):
        text = text[label.end() :]
    if plain:
        return [name for part in text.split(",") if (name := part.strip())]
    names = (_BULLET.sub("", part.strip(), count=1).strip(" \t\r\f\v.:[](){}'’") for part in _BETWEEN_NAMES.split(text))
    return [name for name in names if name]


def read_findings(answer: str) -> tuple[str, ...] | None:
    """The findings that a list asserts, by canonical name, sorted; () for a healthy film.

    A name with ❌, and one that its own words deny ("no effusion"), is not asserted; one that they leave open ("possible
    pneumonia") counts as not written. A name that is not known stands for itself.

    Returns:
        None where nothing can be read, and where the list contradicts itself ("Edema, no edema"; "Edema, No finding").
    """
    asserted: set[str] = set()
    denied: set[str] = set()
    for name, marks in (read_marks(piece) for part in split_names(answer) for piece in _at_marks(part)):
        if not name:
            continue
        if len(set(marks)) > 1:
            return None
        for finding, status in statuses_in(name):
            if status == "absent" or marks[:1] == [False]:
                denied.add(finding)
            elif status == "present":
                asserted.add(finding)
    healthy = NO_FINDING in asserted or (not asserted and bool(denied - {NO_FINDING}))
    if asserted & denied or (NO_FINDING in asserted and len(asserted) > 1) or not (asserted or healthy):
        return None
    return () if healthy else tuple(sorted(asserted))


def _at_marks(part: str) -> list[str]:
    """ "Edema ✅ Mass ❌" and "✅ Edema ❌ Mass" as two names each, with their marks."""
    if part.isascii():
        return [part]
    return (_BEFORE_MARK if _MARK.match(part) else _AFTER_MARK).split(part)


@lru_cache(maxsize=4096)  # as `canonical`
def statuses_in(name: str) -> tuple[tuple[str, Status], ...]:
    """The findings that a name of a list speaks of, and what it says of each: "no effusion", "small left effusion".

    A name that is not known stands for itself, as present. Of "edema or mass" both are left open.
    """
    found = canonical(name)
    mentions = () if found in load_ontology().findings or found == NO_FINDING else extract(name).mentions
    open_choice = re.search(r"\bor\b", name, re.IGNORECASE)
    return tuple((m.finding, "uncertain" if open_choice and m.status == "present" else m.status) for m in mentions) or (
        (found, "present"),
    )


def read_finding(name: str) -> str:
    """The one finding that a name asserts, by canonical name; else the name itself, as `canonical` gives it."""
    said = statuses_in(name)
    finding, status = said[0]
    return finding if status == "present" and said.count(said[0]) == len(said) else canonical(name)
