"""The findings and the words for them: reads ontology.toml and cues.toml into one trie of phrases."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

_CUE_KINDS = (
    "negation",
    "negation_after",
    "uncertain",
    "uncertain_weak",
    "differential",
    "uncertain_after",
    "history",
    "end",
    "comma",
    "and",
    "or",
    "versus",
    "colon",
    "question",
    "verb",
    "shown",
    "resume",
    "ignored",
    "skipped_sections",
    "read_sections",
    "left",
    "right",
    "bilateral",
)
_ELEMENT = re.compile(r"\(([^)]*)\)|\[([^]]*)\]|\{(\w+)\}|([^\s()\[\]{}]+)")
END = ""  # the key of a trie node under which the phrase that ends there is kept


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: its names in the label sets that have it, and all it is a kind of (itself first)."""

    name: str
    nih: str | None
    chexpert: str | None
    cxr_lt: str | None
    ancestors: tuple[str, ...]
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ontology:
    """Findings by canonical name, and the phrases by which a text speaks of them.

    `phrases` is a trie that leads from word to word; under `END` stands (kind, payload): "finding" and its name, "part" or
    "state" and its name, or the kind of a cue. `forms` maps plurals and spellings to the word that phrases use; a first word
    is found in any of its forms. `pairs` maps (part, state) to a finding, `of_part` a part to all its findings.
    """

    findings: dict[str, Finding]
    no_finding: tuple[str, ...]
    phrases: dict
    forms: dict[str, str]
    pairs: dict[tuple[str, str], str]
    of_part: dict[str, tuple[str, ...]]


@cache
def load_ontology() -> Ontology:
    """The ontology of this package.

    Raises:
        ValueError: a data file uses an unknown word class, part, state or parent, or one phrase in two meanings.
    """
    data, cues = (
        tomllib.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))
        for name in ("ontology.toml", "cues.toml")
    )
    words = data["words"] | cues["words"]
    trie: dict = {}
    forms = dict(data["spelling"])

    def add(phrases: list[str], kind: str, payload: str = "") -> None:
        for phrase in phrases:
            for tokens in expand(phrase, words):
                _insert(trie, tokens, (kind, payload))
                for word in tokens:
                    for plural in _plurals(word):
                        forms.setdefault(plural, word)

    for kind in _CUE_KINDS:
        add(cues[kind], kind)
    add(data["ignored"], "ignored")
    for kind, table in (("part", data["parts"]), ("state", data["states"])):
        for name, phrases in table.items():
            add(phrases, kind, name)
    rows = {row["name"]: row for row in data["finding"]}
    pairs: dict[tuple[str, str], str] = {}
    for name, row in rows.items():
        add([name.lower(), *row.get("synonyms", ()), *row.get("phrases", ())], "finding", name)
        for part, state in row.get("pairs", ()):
            if (
                part not in data["parts"]
                or state not in data["states"]
                or pairs.setdefault((part, state), name) != name
            ):
                raise ValueError(f"{name}: pair {part}, {state} is of no known part or state, or another's")
    own_words = set(_words_of(trie))
    findings = {
        name: Finding(
            name,
            name if row.get("nih") else None,
            row.get("chexpert"),
            row.get("cxr_lt"),
            _ancestors(name, rows),
            tuple(row.get("synonyms", ())),
        )
        for name, row in rows.items()
    }
    of_part = {
        part: tuple(dict.fromkeys(name for (p, _), name in pairs.items() if p == part)) for part in data["parts"]
    }
    healthy = tuple(" ".join(tokens) for phrase in data["no_finding"] for tokens in expand(phrase, words))
    forms = {form: word for form, word in forms.items() if form not in own_words}
    phrases = trie | {form: trie[word] for form, word in forms.items() if word in trie}
    return Ontology(findings, healthy, phrases, forms, pairs, of_part)


def expand(phrase: str, words: dict[str, list[str]]) -> Iterator[tuple[str, ...]]:
    """The word sequences that a phrase stands for: "(a|b) c", "[a] c", "{class} c", "a[s]".

    Raises:
        ValueError: a class is unknown.
    """
    choices: list[tuple[str, ...]] = []
    for match in _ELEMENT.finditer(phrase):
        one_of, maybe, word_class, word = match.groups()
        ending = maybe if maybe and match.start() and phrase[match.start() - 1] not in " )]}" else None  # limit[s]
        if ending:
            choices[-1] = tuple(form for w in choices[-1] for form in (w, w + ending))
        elif word_class:
            if word_class not in words:
                raise ValueError(f"{phrase!r}: no class of words is called {word_class!r}")
            choices.append(tuple(words[word_class]))
        else:
            choices.append(tuple((one_of or maybe or word).split("|")) + (("",) if maybe else ()))
    for choice in itertools.product(*choices):
        yield tuple(" ".join(choice).replace("-", " ").split())


def _insert(trie: dict, tokens: tuple[str, ...], meaning: tuple[str, str]) -> None:
    node = trie
    for token in tokens:
        node = node.setdefault(token, {})
    if node.setdefault(END, meaning) != meaning:
        raise ValueError(f"phrase {' '.join(tokens)!r} means {node[END]} and {meaning}")


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < 4 or not word.isalpha():
        return ()
    if word.endswith("y"):
        return (word[:-1] + "ies", word + "s")
    return (word + "es",) if word.endswith(("s", "x", "ch", "sh")) else (word + "s",)


def _words_of(trie: dict) -> Iterator[str]:
    for word, node in trie.items():
        if word != END:
            yield word
            yield from _words_of(node)


def _ancestors(name: str, rows: dict[str, dict]) -> tuple[str, ...]:
    if name not in rows:
        raise ValueError(f"parent {name!r} is no finding")
    kinds = [name]
    for parent in rows[name].get("parents", ()):
        kinds += _ancestors(parent, rows)
    return tuple(dict.fromkeys(kinds))
