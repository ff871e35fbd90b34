"""Text and tables for the terminal, without control characters that could change its state."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from curriculum.table import Table


def printable(text: str) -> str:
    """The text with its control characters, except line ends and tabs, replaced by U+FFFD."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def rich_table(table: Table) -> RichTable:
    rich = RichTable(
        title=Text(table.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column, number in zip(table.columns, table.numbers, strict=True):
        rich.add_column(Text(printable(column)), justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(printable(cell)) for cell in row))
    return rich


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal; without one, wide enough for each row to be one line."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(rich_table(table))
