from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ValidationError

from curriculum.choice import KeyOf

TABLE = {"a": 1, "b": 2, "c": 3}


class ByTable(BaseModel):
    value: Annotated[str, KeyOf(TABLE)]


class ByLiteral(BaseModel):
    value: Literal["a", "b", "c"]


def errors(model, value):
    with pytest.raises(ValidationError) as caught:
        model(value=value)
    return caught.value.errors(include_url=False)


@pytest.mark.parametrize("value", ["d", "", 1, None, ["a"], {"a": 1}])
def test_a_key_is_checked_as_a_literal_is(value):
    assert errors(ByTable, value) == errors(ByLiteral, value)


def test_the_schema_is_that_of_a_literal():
    by_table, by_literal = (model.model_json_schema()["properties"] for model in (ByTable, ByLiteral))
    assert by_table == by_literal


def test_a_key_that_is_added_is_accepted(monkeypatch):
    assert errors(ByTable, "d")
    monkeypatch.setitem(TABLE, "d", 4)
    assert ByTable(value="d").value == "d"
    assert ByTable.model_json_schema()["properties"]["value"]["enum"] == ["a", "b", "c", "d"]
