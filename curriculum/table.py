"""A table of text, as the terminal and the pages show it."""

from __future__ import annotations

from typing import NamedTuple


class Table(NamedTuple):
    """A title, the column headings, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    @property
    def numbers(self) -> list[bool]:
        """For each column, whether it holds whole numbers only; those are aligned to the right."""
        return [all(row[column].replace(",", "").isdigit() for row in self.rows) for column in range(len(self.columns))]
