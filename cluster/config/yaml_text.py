"""Reads YAML, whatever it holds: every fault is one line."""

from __future__ import annotations

from typing import Any

import yaml

from cluster.errors import one_line

# Of PyYAML's constructors: a date without such a month, a tag that does not fit its value, brackets without end.
_CONSTRUCTOR_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class YamlFault(ValueError):
    """A text is no YAML. One line: where, and what is wrong."""


def read_yaml(text: str) -> Any:
    """What a text in YAML says, in plain values.

    Raises:
        YamlFault: it is broken, or one of its values is not what its form or its tag says.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlFault(f"{where}{one_line(getattr(error, 'problem', None) or error)}") from error
    except RecursionError as error:
        raise YamlFault("too many lists or mappings within each other") from error
    except _CONSTRUCTOR_ERRORS as error:
        raise YamlFault(f"a value cannot be read ({one_line(error)})") from error
