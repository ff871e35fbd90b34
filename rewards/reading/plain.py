"""Text without what only decorates it: Markdown, LaTeX, HTML, quotes, end-of-turn tokens, invisible characters."""

from __future__ import annotations

import html
import re
import string
import unicodedata

INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\u00ad\u200e\u200f"
"""Characters that show nothing: byte order mark, zero-width ones, soft hyphen, marks of direction."""
_END_TOKENS = r"<\|[A-Za-z_]{1,30}\|>|</?s>|<eos>|<end_of_turn>|<end_of_utterance>"
_BLANK = re.compile(rf"[\s{INVISIBLE}]*+")
_BLANK_END = re.compile(rf"(?:[\s{INVISIBLE}]|{_END_TOKENS})*+")
_TOKEN = re.compile(_END_TOKENS)
_BOX_TICKED = re.compile(r"^[ \t]*(?:[-*][ \t]+)?\[x\][ \t]+", re.MULTILINE)
_BOX_OPEN = re.compile(r"^[ \t]*(?:[-*][ \t]+)?\[ \][ \t]+", re.MULTILINE)
_BOLD_LETTER = re.compile(r"<(B|I)>([^<>]*)</\1>")
_LINE_TAG = re.compile(r"<(?:br|/?p|/?li|/?div|/?[uo]l|/?h[1-6])\s?/?>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|strong|i|em|u|span|code|pre|mark|center|answer|box)>")  # not "<B>"
_LATEX = re.compile(
    r"\\(?:text|math|emph|underline|bold)[a-z]{0,9}(?=\{)|\\(?:fbox|boxed|framebox)\b|\\[()\[\].,:; ]|[$`{}]"
)
_MARKDOWN = re.compile(r"^[ \t]*+#{1,6}|^[ \t]*+>|\*+(?=\S)|(?<=\S)\*+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)", re.MULTILINE)
_QUOTES = re.compile(r"[\"“”„«»「」『』\ufe0f]|(?<!\w)['‘’]|['‘’](?!\w)")
_CJK_BORDER = re.compile(
    r"(?<=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])(?=[A-Za-z])|(?<=[A-Za-z])(?=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])"
)
_DECORATION = "👉⭐🌟✨📌💡🎯🔹🔸🩻🫁🩺✍➜▶"
_DARK_CIRCLES = {0x1F150 + n: letter for n, letter in enumerate(string.ascii_uppercase)}  # 🅐 …
_DARK_SQUARES = {0x1F170 + n: letter for n, letter in enumerate(string.ascii_uppercase)}  # 🅰 …
_FOLDED = (
    _DARK_CIRCLES
    | _DARK_SQUARES
    | dict.fromkeys(map(ord, INVISIBLE + _DECORATION), "")
    | {
        ord("。"): ".",
        ord("、"): ",",
        ord("【"): "[",
        ord("】"): "]",
        ord("’"): "'",
        ord("—"): "-",
        ord("–"): "-",
    }
)
"""What NFKC leaves as it is."""
_PLAIN_ANSWER = re.compile(r"[A-Za-z0-9 ,.;()-]*+")  # nothing in it decorates


def skip_blank(text: str, at_end: bool) -> int:
    """The number of blank and invisible characters that a text begins with; `at_end` counts end-of-turn tokens too."""
    match = (_BLANK_END if at_end else _BLANK).match(text)
    return match.end() if match else 0


def is_blank(text: str) -> bool:
    """Whether a text holds nothing that can be seen."""
    return skip_blank(text, at_end=False) == len(text)


def plain(answer: str) -> str:
    """The answer without decoration, stripped; full-width and circled letters and marks as plain ones.

    Line breaks stay, and so does what crosses out ("~~B~~").
    """
    if _PLAIN_ANSWER.fullmatch(answer):
        return answer.strip()
    if not answer.isascii():
        answer = unicodedata.normalize("NFKC", answer.translate(_FOLDED))
        answer = _CJK_BORDER.sub(" ", answer)
    if "&" in answer and ";" in answer:
        answer = html.unescape(answer).replace("\xa0", " ")
    if "[ ]" in answer or "[x]" in answer:
        answer = _BOX_TICKED.sub("✅ ", _BOX_OPEN.sub("❌ ", answer))
    if "<" in answer:
        answer = _BOLD_LETTER.sub(r"\2", answer)
        answer = _TAG.sub("", _LINE_TAG.sub("\n", _TOKEN.sub("", answer)))
    if any(character in answer for character in "\\$`{"):
        answer = answer.replace("}{", "} {")
        answer = _LATEX.sub(_kept_mark, answer)
    return _QUOTES.sub("", _MARKDOWN.sub("", answer)).strip()


def _kept_mark(match: re.Match[str]) -> str:
    """An escaped mark stays ("B\\." is "B."), a box becomes "answer:"; braces, mathematics and fonts go."""
    found = match[0]
    if found.endswith("box") or found == "\\boxed":
        return "answer: "
    return found[1:] if found[0] == "\\" and found[1:] in (".", ",", ":", ";", ")") else ""
