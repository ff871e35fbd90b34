"""A setting whose value is a key of a table: the table alone lists the choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema


class KeyOf:
    """Marks a string that must be a key of `table`: `Annotated[str, KeyOf(FORMS)]`.

    Validation and errors are those of a `Literal` of the keys, but the table is read when a value is checked. A choice
    that is added to the table is accepted everywhere.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.table = table

    def check(self, value: Any) -> str:
        if isinstance(value, str) and value in self.table:
            return value
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": _listing(self.table)})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"enum": list(self.table)}


def _listing(keys: Mapping[str, Any]) -> str:
    """'a', 'b' or 'c', as pydantic lists the values of a `Literal`."""
    *others, last = (repr(key) for key in keys)
    return f"{', '.join(others)} or {last}" if others else last
