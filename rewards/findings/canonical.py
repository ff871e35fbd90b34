"""One name for each chest X-ray finding, however it is written."""

from __future__ import annotations

from functools import cache, lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.ontology import load_ontology


@lru_cache(maxsize=4096)  # a run names the same few findings over and over
def canonical(name: str) -> str:
    """The canonical name or "No finding" for its synonyms, plurals and spellings, in any case; "_" and "-" are spaces.

    Names of NIH ChestX-ray14 are canonical. A name that is not known comes back casefolded, with single spaces, and is
    equal only to itself: a word that may mean two findings ("opacity", "collapse") is not known.
    """
    plain = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    names = _names()
    spelling = load_ontology().forms
    for form in (
        plain,
        plain.removesuffix("s"),
        plain.removesuffix("es"),
        plain.removesuffix("ies") + "y",
        " ".join(spelling.get(word, word) for word in plain.split()),
    ):
        if form in names:
            return names[form]
    return plain


@cache
def _names() -> dict[str, str]:
    """Every name and synonym, casefolded, to its canonical name."""
    ontology = load_ontology()
    names = {
        written.casefold(): finding.name
        for finding in ontology.findings.values()
        for written in (finding.name, *finding.synonyms)
    }
    return names | {written: NO_FINDING for written in (NO_FINDING.casefold(), *ontology.no_finding)}
