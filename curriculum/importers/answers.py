"""Reading the gold of questions that a set ships: options, yes or no, letters, names. What is not sure is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

from curriculum.task import OPTION_LETTERS

YES_NO = {"A": "Yes", "B": "No"}

_MARKER = re.compile(r"(?<![^\s,;|])\(?([A-Z])[).:、]\s*")
_HEADING = re.compile(r"(?:the\s+)?(?:answer\s+)?(?:options|choices)(?:\s+are)?\s*[:：]?\s*$", re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-Z])(?:[).:、\s]+(.*))?", re.DOTALL)
_BETWEEN_LETTERS = re.compile(r"\s*(?:[,;/&\n]|\band\b)\s*")
_SENTENCE_END = re.compile(r"[.?!]\s+\S")

# Splits where the rewards split the list of a response, so that every name can be answered.
_BETWEEN_NAMES = re.compile(r"[,;\n/&•·]|(?<!\S)and(?!\S)", re.IGNORECASE)
_NOTHING = {
    "none",
    "nothing",
    "normal",
    "healthy",
    "unremarkable",
    "no finding",
    "no findings",
    "no abnormality",
    "no abnormalities",
    "no abnormal finding",
    "no abnormal findings",
    "no acute abnormality",
    "no acute finding",
}
_NOT_KNOWN = {"maybe", "not sure", "unsure", "uncertain", "unknown", "can't tell", "cannot tell", "n a"}
_OPEN_END = re.compile(r"\betc\.?$|\b(?:and|or) (?:so on|others?\b.*)$|\.\.\.$|…$", re.IGNORECASE)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|can|cannot|if|not)\b", re.IGNORECASE)
_WORDS_OF_A_NAME = 6

_LISTED_LAST = re.compile(r"(?:which|what)\b[^,]*,\s*(.+)", re.IGNORECASE)
_ONE_OR_OTHER = re.compile(r"(\S+)\s+or\s+([^\s,?.]+)", re.IGNORECASE)


class Unreadable(ValueError):
    """A row cannot be made into a task. The message ends the line "skipped 3 questions …"."""


def yes_no(answer: str) -> tuple[str, ...] | None:
    """The letter of a yes or a no among `YES_NO`; None for any other answer."""
    return {"yes": ("A",), "no": ("B",)}.get(_plain(answer))


def split_options(problem: str) -> tuple[str, dict[str, str]]:
    """The question of a problem without the options that it lists, and these: letter to text, empty where it lists none.

    Options begin with "A)", "(A)", "A." or "A:", on lines of their own or after each other. What stands on the lines
    after them stays with the question.

    Raises:
        Unreadable: the letters are not A, B, … in order (2 to 7 of them), or it is not sure where an option ends.
    """
    markers = list(_MARKER.finditer(problem))
    if len(markers) < 2:
        return problem.strip(), {}
    found = "".join(marker[1] for marker in markers)
    if found != OPTION_LETTERS[: len(found)]:
        raise Unreadable("whose options are not lettered A, B, … in order (2 to 7 of them)")
    line_end = problem.find("\n", markers[-1].end())
    end = len(problem) if line_end < 0 else line_end
    borders = [marker.start() for marker in markers[1:]] + [end]
    texts = [
        problem[marker.end() : border].strip(" \t\r\n,;|") for marker, border in zip(markers, borders, strict=True)
    ]
    shares_line = ["\n" not in problem[a.start() : b.start()] for a, b in zip(markers, markers[1:])]
    shares_line.append(shares_line[-1])
    if any(
        not text or "\n" in text or (shares and _SENTENCE_END.search(text))
        for text, shares in zip(texts, shares_line, strict=True)
    ) or len({_plain(text) for text in texts}) < len(texts):
        raise Unreadable("whose options cannot be told apart")
    question = _HEADING.sub("", problem[: markers[0].start()].rstrip()).rstrip()
    return f"{question}\n{problem[end:].strip()}".strip(), dict(zip(found, texts, strict=True))


def read_letters(answer: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The letters that an answer names, sorted: "B", "(B)", "B. Edema", "A, C", "AC", or the options' own texts.

    Raises:
        Unreadable: any part of it is no option, or a letter stands with another option's text.
    """
    of_text = {_plain(text): letter for letter, text in options.items()}

    def one(item: str) -> str | None:
        match = _LETTER.fullmatch(item.strip())
        if match and match[1] in options and _plain(match[2] or "") in ("", _plain(options[match[1]])):
            return match[1]
        return of_text.get(_plain(item))

    if whole := one(answer):
        return (whole,)
    packed = answer.strip()
    if set(packed) <= set(options) and packed == "".join(sorted(set(packed))):
        letters = set(packed)
    else:
        letters = {one(item) for item in _BETWEEN_LETTERS.split(packed)}
    if not letters or None in letters:
        raise Unreadable("whose answer is none of its options")
    return tuple(sorted(letters))


def read_names(answer: str) -> tuple[str, ...]:
    """The names of a list; () where it says that there is nothing.

    Raises:
        Unreadable: it is empty, a sentence, an open list ("…, etc"), a single letter, or says that it is not known.
    """
    if _plain(answer) in _NOTHING:
        return ()
    if _plain(answer) in _NOT_KNOWN:
        raise Unreadable("whose answer is that it is not known")
    if _OPEN_END.search(answer.strip()):
        raise Unreadable("whose answer is an open list (etc)")
    names = {_plain(part): " ".join(part.split()).strip(" .:") for part in _BETWEEN_NAMES.split(answer)}
    names.pop("", None)
    if (
        not names
        or names.keys() & {"yes", "no"}
        or _SENTENCE_END.search(answer)
        or any(len(name.split()) > _WORDS_OF_A_NAME or _VERB.search(name) for name in names.values())
    ):
        raise Unreadable("whose answer is no list of names")
    if any(re.fullmatch("[a-g]", name) for name in names):
        raise Unreadable("whose answer is a letter, with no options in the question")
    return tuple(names.values())


def read_choice(question: str, answer: str) -> dict[str, str] | None:
    """The options that a question itself offers ("…, heart or lung?", "solid or cystic"), the answer among them; else None.

    Read are a list at the end of a question with which or what, and two single words around the only "or": how many
    words belong to an option cannot be told elsewhere.
    """
    asked = question.strip().rstrip(" ?.")
    if (listed := _LISTED_LAST.fullmatch(asked)) and re.search(r"\bor\b", listed[1]):
        texts = re.split(r"\s*,\s*(?:or\s+)?|\s+or\s+", listed[1])
    elif len(re.findall(r"\bor\b", asked, re.IGNORECASE)) == 1 and (pair := _ONE_OR_OTHER.search(asked)):
        texts = [pair[1], pair[2]] if "," not in asked[: pair.end(1)] else []  # after a comma there may be a third
    else:
        return None
    plain = [_plain(text) for text in texts]
    if _plain(answer) not in plain or len(set(plain)) < len(plain) or not 2 <= len(texts) <= len(OPTION_LETTERS):
        return None
    if any(not text or len(text.split()) > 3 for text in texts):
        return None
    return {letter: text[0].upper() + text[1:] for letter, text in zip(OPTION_LETTERS, texts, strict=False)}


def _plain(text: str) -> str:
    return " ".join(text.replace("/", " ").split()).strip(" .").casefold()
