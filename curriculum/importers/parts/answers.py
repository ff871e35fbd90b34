"""Reading the gold of questions that a set ships: options, yes or no, letters, names. Doubtful readings are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from curriculum.importers.parts.normal import denies, is_normal
from curriculum.missing import is_missing, says_nothing
from curriculum.task import OPTION_LETTERS, option_key

YES_NO = {"A": "Yes", "B": "No"}

_MARKER = re.compile(r"(?<![^\s,;|])[(\[]?([A-Z])[)\].:、]+\s*")
_HEADING = re.compile(r"(?:the\s+)?(?:answer\s+)?(?:options|choices)(?:\s+are)?\s*[:：]?\s*$", re.IGNORECASE)
_LETTER = re.compile(r"[(\[]?([A-Z])(?:[)\].:、\s]+(.*))?", re.DOTALL)
_WIDE_MARKS = {"\u3000": " ", "【": "[", "】": "]", "〔": "[", "〕": "]", "「": "[", "」": "]", "。": "."}
_NARROW: dict[int, str] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width ASCII
    **{0x24B6 + number: letter for number, letter in enumerate(OPTION_LETTERS)},  # Ⓐ to Ⓖ
    **{ord(wide): mark for wide, mark in _WIDE_MARKS.items()},
}
"""Full-width and circled characters to those that mean the same; a text keeps its length."""
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_ESCAPE = re.compile(r"\\(.)")
_BETWEEN_LETTERS = re.compile(r"\s*(?:[,;/&\n]|\band\b)\s*")
_SENTENCE_END = re.compile(r"[.?!]\s+\S")

# The rewards split the list of a response at the same marks, so that every name can be answered.
_BETWEEN_NAMES = re.compile(r"[,;\n/&•·]|(?<!\S)and(?!\S)", re.IGNORECASE)
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
    return {"yes": ("A",), "no": ("B",)}.get(_plain(_narrow(answer)))


def split_options(problem: str) -> tuple[str, dict[str, str]]:
    """The question of a problem without the options that it lists, and the options, letter to text; maybe none.

    Options begin with "A)", "(A)", "[A]", "A.", "A:" or "A、", full-width or not, on lines of their own or after each
    other. Text on the lines after them stays with the question.

    Raises:
        Unreadable: the letters are not A, B, … in order (2 to 7 of them), or it is not clear where an option ends.
    """
    markers = list(_MARKER.finditer(_narrow(problem)))
    if len(markers) < 2:
        return problem.strip(), {}
    letters = "".join(marker[1] for marker in markers)
    if letters != OPTION_LETTERS[: len(letters)]:
        raise Unreadable("whose options are not lettered A, B, … in order (2 to 7 of them)")
    line_end = problem.find("\n", markers[-1].end())
    end = len(problem) if line_end < 0 else line_end
    starts = [marker.start() for marker in markers]
    texts = []
    for marker, border in zip(markers, [*starts[1:], end], strict=True):
        texts.append(problem[marker.end() : border].strip(" \t\r\n,;|，；\u3000"))
    shares_line = ["\n" not in problem[start:following] for start, following in pairwise(starts)]
    shares_line.append(shares_line[-1])
    for text, shares in zip(texts, shares_line, strict=True):
        if not text or "\n" in text or (shares and _SENTENCE_END.search(text)):
            raise Unreadable("whose options cannot be told apart")
    if len({option_key(text) for text in texts}) < len(texts) or any(is_missing(text) for text in texts):
        raise Unreadable("whose options cannot be told apart")
    question = _HEADING.sub("", problem[: starts[0]].rstrip()).rstrip()
    return f"{question}\n{problem[end:].strip()}".strip(), dict(zip(letters, texts, strict=True))


def read_letters(answer: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The letters that an answer names, sorted: "B", "(B)", "B. Edema", "A, C", "AC", or the options' own texts.

    Raises:
        Unreadable: any part of it is not an option, or a letter comes with another option's text.
    """
    of_text = {_plain(text): letter for letter, text in options.items()}

    answer = _narrow(answer)

    def one(item: str) -> str | None:
        match = _LETTER.fullmatch(item.strip())
        if match and match[1] in options and _plain(match[2] or "") in ("", _plain(options[match[1]])):
            return match[1]
        return of_text.get(_plain(item))

    whole = one(answer)
    if whole:
        return (whole,)
    packed = answer.strip()
    letters: set[str] = set()
    if set(packed) <= set(options) and packed == "".join(sorted(set(packed))):  # such as "AC"
        letters.update(packed)
    else:
        for item in _BETWEEN_LETTERS.split(packed):
            letter = one(item)
            if letter is None:
                raise Unreadable("whose answer is none of its options")
            letters.add(letter)
    if not letters:
        raise Unreadable("whose answer is none of its options")
    return tuple(sorted(letters))


def read_names(answer: str) -> tuple[str, ...]:
    """The names of a list; () if it says that nothing is wrong (`normal.is_normal`).

    Raises:
        Unreadable: it is missing, a sentence, an open list ("…, etc"), a letter, or says that nothing is known or
            what is not there.
    """
    if says_nothing(answer):
        raise Unreadable("without an answer")
    if is_normal(answer):
        return ()
    if _plain(answer) in _NOT_KNOWN:
        raise Unreadable("whose answer is that it is not known")
    if _OPEN_END.search(answer.strip()):
        raise Unreadable("whose answer is an open list (etc)")
    names = {_plain(part): " ".join(part.split()).strip(" .:") for part in _BETWEEN_NAMES.split(answer)}
    names.pop("", None)
    if any(denies(name) for name in names):
        raise Unreadable("whose answer says what is not there")
    no_list = not names or names.keys() & {"yes", "no"} or _SENTENCE_END.search(answer)
    if no_list or any(_is_no_name(name) for name in names.values()):
        raise Unreadable("whose answer is no list of names")
    if any(re.fullmatch("[a-g]", name) for name in names):
        raise Unreadable("whose answer is a letter, with no options in the question")
    return tuple(names.values())


def unfold_list(answer: str) -> str:
    """The items of a list that is written as a text, with commas between them; any other answer as it is.

    Lists of Python, JSON and NumPy are read: "['a', 'b']", '["a", "b"]', "['a' 'b']" and "[a, b]".

    Raises:
        Unreadable: the list is empty, or has an item that is not text.
    """
    text = answer.strip()
    if len(text) < 2 or text[0] + text[-1] not in ("[]", "()", "{}") or _LETTER.fullmatch(_narrow(text)):
        return answer
    inside = text[1:-1]
    items = [_ESCAPE.sub(r"\1", match[1] or match[2] or "") for match in _QUOTED.finditer(inside)]
    between = _QUOTED.sub(" ", inside) if items else ""
    if text[0] != "[" and not items:
        return answer
    if not items:
        items = inside.split(",")
    elif any(not is_missing(word) for word in between.replace(",", " ").split()):
        raise Unreadable("whose answer is a list of something other than texts")
    named = [item.strip() for item in items if not is_missing(item)]
    if not named:
        raise Unreadable("without an answer")
    if all(_NUMBER.fullmatch(item) for item in named):
        raise Unreadable("whose answer is a list of something other than texts")
    return ", ".join(named)


def read_choice(question: str, answer: str) -> dict[str, str] | None:
    """The options that a question itself offers ("…, heart or lung?", "solid or cystic"), if the answer is one.

    Two forms are read: a list at the end of a question with which or what, and two single words around the only "or".
    In other forms it is not clear how many words belong to an option; they give None.
    """
    texts = _offered(question.strip().rstrip(" ?."))
    plain = [_plain(text) for text in texts]
    if _plain(answer) not in plain or len(set(plain)) < len(plain) or not 2 <= len(texts) <= len(OPTION_LETTERS):
        return None
    if any(not text or len(text.split()) > 3 for text in texts):
        return None
    return {letter: text[0].upper() + text[1:] for letter, text in zip(OPTION_LETTERS, texts, strict=False)}


def _offered(question: str) -> list[str]:
    """The texts between which a question asks to choose; none if it does not, or if it is not clear where one ends."""
    listed = _LISTED_LAST.fullmatch(question)
    if listed and re.search(r"\bor\b", listed[1]):
        return re.split(r"\s*,\s*(?:or\s+)?|\s+or\s+", listed[1])
    pair = _ONE_OR_OTHER.search(question)
    if not pair or len(re.findall(r"\bor\b", question, re.IGNORECASE)) != 1:
        return []
    if "," in question[: pair.end(1)]:  # there may be a third option before the comma
        return []
    return [pair[1], pair[2]]


def _is_no_name(text: str) -> bool:
    """Whether an item of a list has too many words for a name, a verb, or nothing to read."""
    return len(text.split()) > _WORDS_OF_A_NAME or bool(_VERB.search(text)) or says_nothing(text)


def _narrow(text: str) -> str:
    """The text with full-width letters and punctuation as ASCII, at the same places."""
    return text.translate(_NARROW)


def _plain(text: str) -> str:
    return " ".join(text.replace("/", " ").split()).strip(" .").casefold()
