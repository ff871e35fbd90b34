"""Writes docs/licences.md: what curlvpr[cpu,trackers] installs, and under which licences: python scripts/licences.py"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = """# Licences of what is installed

What `curlvpr[cpu,trackers]` needs, directly and in turn, as the packages themselves declare it; written by `scripts/licences.py`.
vLLM for GPUs needs CUDA libraries of NVIDIA besides, under NVIDIA's own licences. curlvpr is under Apache-2.0 ([LICENSE](../LICENSE)).

| package | licence |
|---|---|
"""


def needed(
    name: str, extras: frozenset[str], found: dict[str, Distribution], seen: set[tuple[str, frozenset[str]]]
) -> None:
    """Adds a package and what it needs, as far as it is installed."""
    key = (canonicalize_name(name), extras)
    if key in seen:
        return
    seen.add(key)
    try:
        found[key[0]] = package = distribution(name)
    except PackageNotFoundError:  # not for this platform
        return
    for requirement in map(Requirement, package.requires or ()):
        environments = [default_environment() | {"extra": extra} for extra in (extras or {""})]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            needed(requirement.name, frozenset(requirement.extras), found, seen)


def licence(package: Distribution) -> str:
    """As declared: SPDX expression, else the classifiers, else the first line of the licence's text, or what that text is."""
    data = package.metadata
    if expression := data.get("License-Expression"):
        return expression
    classifiers = [
        text.rpartition(" :: ")[2] for text in data.get_all("Classifier", []) if text.startswith("License ::")
    ]
    named = [text for text in classifiers if text != "OSI Approved"]
    first = (data.get("License") or "").strip().splitlines()[:1]
    return ", ".join(named) or (re.sub(r"\s+", " ", first[0])[:60] if first else by_text(package))


def by_text(package: Distribution) -> str:
    texts = [package.read_text(f"licenses/{name}") or "" for name in package.metadata.get_all("License-File", [])]
    text = " ".join(" ".join(texts).split())
    for words, name in (
        ("Permission is hereby granted, free of charge", "MIT"),
        ("Apache License Version 2.0", "Apache-2.0"),
    ):
        if words in text:
            return f"{name} (its text)"
    return "not declared"


def main() -> None:
    found: dict[str, Distribution] = {}
    needed("curlvpr", frozenset({"cpu", "trackers"}), found, set())
    del found["curlvpr"]
    rows = "".join(f"| {name} | {licence(package)} |\n" for name, package in sorted(found.items()))
    (Path(__file__).parents[1] / "docs" / "licences.md").write_text(HEAD + rows, encoding="utf-8")


if __name__ == "__main__":
    main()
