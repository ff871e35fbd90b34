"""The findings and the words for them, read from ontology.toml and cues.toml into one trie of phrases."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from rewards.findings.signs import load_signs

_NO_CUES = {"words", "attributes"}  # the tables of cues.toml that are not lists of phrases
_TOPICS = {"finding", "part", "skipped_sections", "read_sections"}
_SIDED_PARTS = {"lung", "pleura", "diaphragm", "hilum", "angle", "fissure"}  # whose side is that of a finding in them
_ELEMENT = re.compile(r"\(([^)]*)\)|\[([^]]*)\]|\{(\w+)\}|([^\s()\[\]{}]+)")
END = ""  # the key under which a trie node holds the meaning of the phrase that ends there

Attribute: TypeAlias = tuple[str, str]
"""What a phrase says of its finding: ("side", "left"), ("severity", "mild"), ("place", "basal")."""
Meaning: TypeAlias = tuple[str, str, tuple[Attribute, ...]]
Trie: TypeAlias = dict[str, Any]
"""Word to the trie of what may follow it; `END` to the meaning of the phrase that ends here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: its names in the label sets that have it, and everything that it is a kind of (itself first)."""

    name: str
    nih: str | None
    chexpert: str | None
    cxr_lt: str | None
    ancestors: tuple[str, ...]
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ontology:
    """The findings, and the phrases by which a text mentions them or their signs.

    Attributes:
        findings: the findings by canonical name.
        no_finding: the names of a healthy film.
        phrases: a trie from word to word. Under `END` a node holds (kind, payload, attributes): ("finding", name),
            ("part", name), ("state", name) or (kind of cue, ""), and the attributes that the phrase gives to its
            finding, as ("side", "left"). Each word has an entry for each of its plurals and spellings too.
        base_words: plural or other spelling to the word that phrases use.
        pairs: (part of the body, state) to the finding or sign that they make up.
        of_part: part of the body to all its findings, which it doesn't have if it is normal. Only the parts of
            signs.toml have signs there.
        words: every word of a phrase, in all its spellings.
        topic_words: a word of every finding, part of the body and heading: a sentence without any says nothing.
        core_words: the words of the names of the main findings, in all their spellings: those whose typing errors are
            mended.
    """

    findings: dict[str, Finding]
    no_finding: tuple[str, ...]
    phrases: Trie
    base_words: dict[str, str]
    pairs: dict[tuple[str, str], str]
    of_part: dict[str, tuple[str, ...]]
    words: frozenset[str]
    topic_words: frozenset[str]
    core_words: frozenset[str]


@cache
def load_ontology() -> Ontology:
    """The ontology of this package.

    Raises:
        ValueError: a data file uses an unknown word class, part, state or parent, or one phrase in two meanings.
    """
    data, cues, table = _read("ontology.toml"), _read("cues.toml"), load_signs()
    words = data["words"] | cues["words"] | table.words
    rows = {row["name"]: row for row in data["finding"]}
    trie: Trie = {}
    base_words = dict(data["spelling"])
    attributes = _attributes(cues["attributes"])
    topic_words: set[str] = set()

    def add(phrases: Iterable[str], kind: str, payload: str = "") -> None:
        for phrase in phrases:
            for tokens in expand(phrase, words):
                given: tuple[Attribute, ...] = ()
                if kind in ("finding", "state") or payload in _SIDED_PARTS:
                    given = tuple(found for word in tokens for found in attributes.get((word,), ()))
                _insert(trie, tokens, (kind, payload, given))
                if kind in _TOPICS:
                    topic_words.add(max(tokens, key=len))  # "no lung markings": the word that tells most
                for word in tokens:
                    for plural in _plurals(word):
                        base_words.setdefault(plural, word)

    parts, states = data["parts"] | table.parts, data["states"] | table.states
    for name, phrases in parts.items():
        add(phrases, "part", name)
    for name, phrases in states.items():
        add(phrases, "state", name)
    for tokens, given in attributes.items():
        _insert(trie, tokens, ("attribute", "", given), is_default=True)
    for kind, phrases in cues.items():
        if kind not in _NO_CUES:
            add(phrases, kind)
    add(data["ignored"], "ignored")
    for name, row in rows.items():
        add([name.lower(), *row.get("synonyms", ()), *row.get("phrases", ())], "finding", name)

    for name, sign in table.signs.items():
        add(sign.phrases, "finding", name)

    own_words = set(_words_of(trie))
    base_words = {written: word for written, word in base_words.items() if written not in own_words}
    _add_spellings(trie, base_words)
    pairs = _pairs(rows, parts, states)
    for name, sign in table.signs.items():
        if unknown := set(sign.findings) - rows.keys():
            raise ValueError(f"{name} is about {', '.join(sorted(unknown))}, which is no finding")
        if not (sign.phrases or sign.pairs or name in rows):
            raise ValueError(f"{name} has no phrases and is no finding")
    sign_pairs = _pairs({name: {"pairs": sign.pairs} for name, sign in table.signs.items()}, parts, states)
    # A normal part denies what it would show, not the signs by which it is normal.
    denied_pairs = {pair: name for pair, name in sign_pairs.items() if table.signs[name].speaks_for}
    healthy = [" ".join(tokens) for phrase in data["no_finding"] for tokens in expand(phrase, words)]
    return Ontology(
        findings={name: _finding(name, rows) for name in rows},
        no_finding=tuple(healthy),
        phrases=trie,
        base_words=base_words,
        pairs=pairs | sign_pairs,
        words=frozenset(own_words | base_words.keys()),
        topic_words=frozenset(topic_words | {written for written, word in base_words.items() if word in topic_words}),
        core_words=_core_words(data, rows.values(), base_words),
        of_part={part: _findings_of(part, pairs) for part in data["parts"]}
        | {part: _findings_of(part, denied_pairs) for part in table.parts},
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))


def _core_words(
    data: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], base_words: Mapping[str, str]
) -> frozenset[str]:
    core = set(data["mended"])
    for row in rows:
        if row.get("nih"):
            core.update(word for name in (row["name"], *row.get("synonyms", ())) for word in name.lower().split())
    return frozenset(core | {written for written, word in base_words.items() if word in core and len(written) > 6})


def _attributes(tables: Mapping[str, Mapping[str, list[str]]]) -> dict[tuple[str, ...], tuple[Attribute, ...]]:
    """Each phrase of the tables of attributes to all that it says: "rll" is right and lower."""
    attributes: dict[tuple[str, ...], tuple[Attribute, ...]] = {}
    for attribute, values in tables.items():
        for value, phrases in values.items():
            for phrase in phrases:
                tokens = tuple(phrase.split())
                attributes[tokens] = (*attributes.get(tokens, ()), (attribute, value))
    return attributes


def _finding(name: str, rows: Mapping[str, dict[str, Any]]) -> Finding:
    row = rows[name]
    return Finding(
        name=name,
        nih=name if row.get("nih") else None,
        chexpert=row.get("chexpert"),
        cxr_lt=row.get("cxr_lt"),
        ancestors=_ancestors(name, rows),
        synonyms=tuple(row.get("synonyms", ())),
    )


def _pairs(
    rows: Mapping[str, dict[str, Any]], parts: Container[str], states: Container[str]
) -> dict[tuple[str, str], str]:
    """(part, state) to the finding whose row has the pair."""
    pairs: dict[tuple[str, str], str] = {}
    for name, row in rows.items():
        for part, state in row.get("pairs", ()):
            if part not in parts or state not in states:
                raise ValueError(f"{name}: pair {part}, {state} has an unknown part or state")
            owner = pairs.setdefault((part, state), name)
            if owner != name:
                raise ValueError(f"{name}: pair {part}, {state} belongs to {owner} already")
    return pairs


def _findings_of(part: str, pairs: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """The findings of a part of the body, each once, in the order of the pairs."""
    return tuple(dict.fromkeys(name for (own_part, _), name in pairs.items() if own_part == part))


def expand(phrase: str, words: dict[str, list[str]]) -> Iterator[tuple[str, ...]]:
    """The word sequences that a phrase stands for: "(a|b) c", "[a] c", "{class} c", "a[s]".

    Raises:
        ValueError: a class is unknown.
    """
    choices: list[tuple[str, ...]] = []
    for match in _ELEMENT.finditer(phrase):
        one_of, optional, word_class, word = match.groups()
        touches_word = match.start() > 0 and phrase[match.start() - 1] not in " )]}"
        if optional and touches_word:  # an ending, as in limit[s]
            stems = choices[-1]
            choices[-1] = tuple(itertools.chain.from_iterable((stem, stem + optional) for stem in stems))
        elif word_class:
            if word_class not in words:
                raise ValueError(f"{phrase!r}: no class of words is called {word_class!r}")
            choices.append(tuple(words[word_class]))
        elif optional:
            choices.append((*optional.split("|"), ""))
        else:
            choices.append(tuple((one_of or word).split("|")))
    for choice in itertools.product(*choices):
        yield tuple(" ".join(choice).replace("-", " ").split())


def _insert(trie: Trie, tokens: tuple[str, ...], meaning: Meaning, is_default: bool = False) -> None:
    """Adds a phrase. A default gives way to what the phrase means already."""
    node = trie
    for token in tokens:
        node = node.setdefault(token, {})
    if node.setdefault(END, meaning) != meaning and not is_default:
        raise ValueError(f"phrase {' '.join(tokens)!r} means {node[END]} and {meaning}")


def _add_spellings(trie: Trie, base_words: Mapping[str, str]) -> None:
    """Lets every spelling of a word lead to where the word leads."""
    spellings: dict[str, list[str]] = {}
    for written, word in base_words.items():
        spellings.setdefault(word, []).append(written)
    nodes = [trie]
    while nodes:
        node = nodes.pop()
        for word in [word for word in node if word != END]:
            nodes.append(node[word])
            for written in spellings.get(word, ()):
                node.setdefault(written, node[word])


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < 4 or not word.isalpha():
        return ()
    if word.endswith("y"):
        return (word[:-1] + "ies", word + "s")
    return (word + "es",) if word.endswith(("s", "x", "ch", "sh")) else (word + "s",)


def _words_of(trie: Trie) -> Iterator[str]:
    for word, node in trie.items():
        if word != END:
            yield word
            yield from _words_of(node)


def _ancestors(name: str, rows: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    if name not in rows:
        raise ValueError(f"parent {name!r} is not a finding")
    kinds = [name]
    for parent in rows[name].get("parents", ()):
        kinds += _ancestors(parent, rows)
    return tuple(dict.fromkeys(kinds))
