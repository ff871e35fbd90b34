"""One line out of the many of an error in remote work."""

import pytest

from actors.runtime.remote import cause


@pytest.mark.parametrize(
    "error, line",
    [
        (None, "it ended without an error"),
        (RuntimeError("only this"), "only this"),
        (
            RuntimeError("Traceback:\n  ValueError: first\n  frame\nKeyError: 'newest'  \nsee the log\n"),
            "KeyError: 'newest'",
        ),
        (RuntimeError("a\nb\nlast line"), "last line"),
    ],
)
def test_one_line_out_of_many(error, line):
    assert cause(error) == line
