"""Text and tables for the terminal."""

from cluster.terminal import print_table, printable
from curriculum.table import Table


def test_no_text_controls_the_terminal():
    assert printable("a\x1b[31mb\x07\tc\n") == "a\ufffd[31mb\ufffd\tc\n"


def test_a_table_has_a_line_for_each_row_and_its_markup_is_text(capsys):
    print_table(Table("Runs", ("name", "steps"), [("[bold]one[/bold]", "12"), ("two\x1b", "7")]))
    shown = capsys.readouterr().out
    assert "[bold]one[/bold]" in shown and "two\ufffd" in shown and "\x1b" not in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.strip()][-2:] == ["12", "7"]
