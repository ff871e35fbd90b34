"""Writes docs/licences.md, the licences of what curlvpr[cpu,trackers] installs. Usage: python scripts/licences.py"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = """# Licences of the installed packages

Every package that `curlvpr[cpu,trackers]` needs, directly or indirectly, with the licence that the package declares.
`scripts/licences.py` writes this page. vLLM for GPUs also needs CUDA libraries, which are under NVIDIA's own licences.
curlvpr is under Apache-2.0 ([LICENSE](../LICENSE)).

| package | licence |
|---|---|
"""


def add_package(
    name: str, extras: frozenset[str], packages: dict[str, Distribution], seen: set[tuple[str, frozenset[str]]]
) -> None:
    """Adds a package and everything that it needs to `packages`, as far as it is installed.

    Args:
        name: of the package.
        extras: of the package, whose requirements are needed too.
        packages: name to package; filled.
        seen: names and extras that were added before; filled.
    """
    key = (str(canonicalize_name(name)), extras)
    if key in seen:
        return
    seen.add(key)
    try:
        package = distribution(name)
    except PackageNotFoundError:  # not for this platform
        return
    packages[key[0]] = package
    environments: list[dict[str, str]] = []
    for extra in extras or {""}:
        environments.append({**default_environment(), "extra": extra})
    for requirement in map(Requirement, package.requires or ()):
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            add_package(requirement.name, frozenset(requirement.extras), packages, seen)


def licence(package: Distribution) -> str:
    """The declared licence: SPDX expression, else classifiers, else the first line of the field, else by the text."""
    data = package.metadata
    expression = data.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = []
    for text in data.get_all("Classifier", []):
        name = text.rpartition(" :: ")[2]
        if text.startswith("License ::") and name != "OSI Approved":
            classifiers.append(name)
    if classifiers:
        return ", ".join(classifiers)
    lines = (data.get("License") or "").strip().splitlines()
    if lines:
        return re.sub(r"\s+", " ", lines[0])[:60]
    return licence_by_text(package)


def licence_by_text(package: Distribution) -> str:
    """The licence whose text the package ships, as far as it is a well-known one."""
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
    packages: dict[str, Distribution] = {}
    add_package("curlvpr", frozenset({"cpu", "trackers"}), packages, set())
    del packages["curlvpr"]
    rows = "".join(f"| {name} | {licence(package)} |\n" for name, package in sorted(packages.items()))
    (Path(__file__).parents[1] / "docs" / "licences.md").write_text(HEAD + rows, encoding="utf-8")


if __name__ == "__main__":
    main()
