"""Errors of libraries in one line."""

import pytest

from cluster.errors import error_line, fail, first_sentence, one_line


def test_a_long_message_becomes_one_line():
    assert one_line("a\n  b\t c ") == "a b c"
    assert one_line("a\x1b[2J\u2028b\x85c\ud83d") == "a\ufffd[2J b c\ufffd"
    assert error_line(ValueError("no\nnumber")) == "ValueError: no number"


@pytest.mark.parametrize(
    "message, sentence",
    [
        ("Token is wrong. Set it in the environment.\nMore advice.", "Token is wrong"),
        ("\n  version 2.60.0 is needed.  ", "version 2.60.0 is needed"),
        ("", "RuntimeError"),
    ],
)
def test_the_first_sentence_leaves_the_advice_out(message, sentence):
    assert first_sentence(RuntimeError(message)) == sentence


def test_a_failure_is_one_line_and_a_code(capsys):
    with pytest.raises(SystemExit) as exit:
        fail("no such recipe", 2)
    assert exit.value.code == 2 and capsys.readouterr().err == "curlvpr: no such recipe\n"
    with pytest.raises(SystemExit):
        fail("name '\x1b[2J'\nis unknown", 2)
    assert capsys.readouterr().err == "curlvpr: name '\ufffd[2J' is unknown\n"
