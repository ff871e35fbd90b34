"""One name for each chest X-ray finding, however it is written."""

from __future__ import annotations

from functools import cache, lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.ontology import load_ontology


@lru_cache(maxsize=4096)  # a run names the same few findings over and over
def canonical(name: str) -> str:
    """The canonical name of a finding, or "No finding", for a synonym, plural or other spelling, in any case.

    "_" and "-" count as spaces. Names of NIH ChestX-ray14 are canonical. An unknown name comes back casefolded, with
    single spaces, and is equal only to itself. A word that may mean two findings ("opacity", "collapse") is unknown.
    """
    plain = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    names = _names()
    base_words = load_ontology().base_words
    spellings = (
        plain,
        plain.removesuffix("s"),
        plain.removesuffix("es"),
        plain.removesuffix("ies") + "y",
        " ".join(base_words.get(word, word) for word in plain.split()),
    )
    for spelling in spellings:
        if spelling in names:
            return names[spelling]
    return plain


@cache
def _names() -> dict[str, str]:
    """Every name and synonym, casefolded, to its canonical name."""
    ontology = load_ontology()
    names = {}
    for finding in ontology.findings.values():
        for written in (finding.name, *finding.synonyms):
            names[written.casefold()] = finding.name
    return names | dict.fromkeys((NO_FINDING.casefold(), *ontology.no_finding), NO_FINDING)
