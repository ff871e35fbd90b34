"""The tables that `curlvpr eval` prints: a row for each measure, a column for each model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

SECTIONS = {
    "overall": "All tasks",
    "families": "Families",
    "frequency": "Findings by frequency",
    "findings": "Findings",
    "strata": "Strata",
    "samples": "Sampled responses",
    "marks": "Marks in sampled responses: the share that is right",
}
MAX_ROWS = 100  # of a table; a set may name hundreds of findings


def print_tables(report: Mapping[str, Any]) -> None:
    """Prints the result of `evaluate.report`. Each value of a later model has its difference to the first below it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    models = report["models"]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 60 + 26 * len(models))
    console.print(
        f"{report['count']} tasks of {report['patients']} patients; 95 % intervals from {report['resamples']} "
        "resamples of patients"
    )
    for model in models:
        if sampled := model.get("samples"):
            console.print(
                f"{escape(model['name'])}: {sampled['count']} responses to each task sampled at temperature "
                f"{sampled['temperature']:g}"
            )
    for section, title in SECTIONS.items():
        if section not in models[0]["measures"]:
            continue
        table = Table("measure", "tasks", *(model["name"] for model in models), title=title, title_justify="left")
        before: tuple[str, ...] = ()
        for path, first in islice(_leaves(models[0]["measures"][section]), MAX_ROWS):
            if before and path[:-1] != before:
                table.add_section()
            before = path[:-1]
            place = (section, *path)
            cells = [_cell(first)] + [_cell(_at(m["measures"], place), _at(m["difference"], place)) for m in models[1:]]
            name = " ".join((*path[:-1], path[-1].replace("_", " ")))
            table.add_row(escape(name), str(first["tasks"]), *cells)
        console.print(table)
        count = sum(1 for _ in _leaves(models[0]["measures"][section]))
        if count > MAX_ROWS:
            console.print(f"and {count - MAX_ROWS} more rows: --json shows all")
        if section == "frequency":
            console.print("\n".join(_groups(report["frequency"])))


def _groups(frequency: Mapping[str, Any]) -> Iterator[str]:
    head, tail = frequency["head_above"], frequency["tail_below"]
    ranges = {"head": f"above {head:.0%}", "medium": f"{tail:.0%} to {head:.0%}", "tail": f"below {tail:.0%}"}
    shares = sorted(frequency["train_share"].items(), key=lambda item: -item[1])
    for group, words in ranges.items():
        listed = ", ".join(f"{name} {share:.1%}" for name, share in shares if frequency["group"][name] == group)
        yield f"{group}, {words} of train films: {listed or 'none'}"


def _cell(leaf: Mapping[str, Any] | None, difference: Mapping[str, Any] | None = None) -> str:
    if leaf is None:  # a model that never marks an option has no share of its right marks
        return "–"
    lines = [_words(leaf, "")]
    if difference:
        significant = difference["low"] is not None and not difference["low"] <= 0 <= difference["high"]
        text = _words(difference, "+")
        lines.append(f"[bold]{text}[/bold]" if significant else text)
    return "\n".join(lines)


def _words(leaf: Mapping[str, Any], sign: str) -> str:
    if leaf["low"] is None:
        return f"{leaf['value']:{sign}.3f}"
    return f"{leaf['value']:{sign}.3f} \\[{leaf['low']:{sign}.3f}, {leaf['high']:{sign}.3f}]"


def _leaves(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for key, child in node.items():
        if "value" in child:
            yield (*path, key), child
        else:
            yield from _leaves(child, (*path, key))


def _at(node: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any] | None:
    """What lies at a place; None if there is nothing."""
    found: Mapping[str, Any] | None = node
    for key in path:
        found = None if found is None else found.get(key)
    return found
