"""Every fault of a text in YAML is one line, whatever PyYAML raises."""

import pytest

from cluster.config.yaml_text import YamlFault, read_yaml


def test_plain_values_are_read():
    assert read_yaml("a: [1, 2.5, x]\nb: {c: null}") == {"a": [1, 2.5, "x"], "b": {"c": None}}


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: [", "line 1, column 5: expected the node content"),
        ("a: \0", "unacceptable character #x0000: special characters are not allowed in"),
        ("a: \ud83d", "unacceptable character #xd83d"),
        ("a: 2020-13-45", "a value cannot be read (month must be in 1..12)"),
        ("a: 0x_", "a value cannot be read (invalid literal for int()"),
        ("a: " + "9" * 5000, "a value cannot be read (Exceeds the limit"),
        ("a: !!int x", "a value cannot be read (invalid literal for int()"),
        ("a: !!float ''", "a value cannot be read (string index out of range)"),
        ("a: !!bool x", "a value cannot be read ('x')"),
        ("a: !!timestamp x", "a value cannot be read ("),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor"),
        ("? [a]\n: b", "line 1, column 3: found unhashable key"),
        ("[" * 3000, "too many lists or mappings within each other"),
    ],
)
def test_a_broken_text_is_one_line(text, words):
    with pytest.raises(YamlFault) as fault:
        read_yaml(text)
    assert words in str(fault.value) and "\n" not in str(fault.value)
