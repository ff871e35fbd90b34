"""Text and tables for the terminal, without anything in them that could steer it."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from curriculum.table import Table


def printable(text: str) -> str:
    """A text whose control characters, such as those of a terminal, are replaced; ends of lines and tabs stay."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


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
    """As wide as the terminal; where there is none, wide enough for a row to be a line."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(rich_table(table))
