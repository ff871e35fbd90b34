"""Reads recipes: YAML with `--set a.b=c` laid over it. Errors name the path, the value and the nearest known key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import BaseModel, ValidationError

from cluster.config.credentials import find_credential
from cluster.config.recipe import Recipe
from cluster.config.yaml_text import YamlFault, read_yaml
from cluster.errors import UserError
from cluster.stages import STAGE_KINDS, StageKind


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads the recipe in a YAML file, with `overrides` such as "stages.closed.gate.max_steps=50" laid over it.

    Raises:
        UserError: there is no such file, the YAML is broken, a key is unknown (the error offers the nearest known one),
            or a value is wrong.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in Path("recipes").glob("*.yaml")], 1)
        raise UserError(f"{path}: no such recipe" + (f"; did you mean recipes/{near[0]}?" if near else ""))
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except (YamlFault, UnicodeDecodeError) as error:
        raise UserError(f"{path}: broken YAML, {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values, found {type(tree).__name__}")
    for text in overrides:
        _override(tree, text)
    return parse_recipe(tree, str(path))


def parse_recipe(tree: dict[str, Any], source: str) -> Recipe:
    """Checks a plain tree and returns its recipe.

    Args:
        tree: what YAML or JSON gave.
        source: names the recipe in errors.

    Raises:
        UserError: as `load_recipe`, or the tree holds a password or key; the error never repeats it.
    """
    try:
        credential = find_credential(tree)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    if credential:
        path, kind = credential
        raise UserError(
            f"{source}: {path}: looks like {kind}; a recipe is kept in run folders, reports and trackers: set "
            "it in the environment of the cluster's nodes instead, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_fault(error)}") from error


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with settings such as {"learner.zero_stage": 3} laid over it. Raises pydantic's ValidationError."""
    tree = recipe.model_dump()
    for path, value in settings.items():
        set_key(tree, path, value)
    return Recipe.model_validate(tree)


def set_key(tree: Any, path: str, value: Any) -> None:
    """Sets "a.b.c" in a plain tree; mappings that are missing are made.

    An item of a list is called by its `name`, as stages are, or by its number from 0.

    Raises:
        ValueError: the path leads into a value, or to an item that a list does not have.
    """
    *parents, last = path.split(".")
    node = tree
    for depth, key in enumerate(parents):
        step = _step_into(node, key, ".".join(parents[:depth]))
        if isinstance(node, dict) and node.get(step) is None:
            node[step] = {}
        node = node[step]
    node[_step_into(node, last, ".".join(parents))] = value


def _step_into(node: Any, key: str, path: str) -> str | int:
    """What `key` is called in `node`, which is at `path`: itself in a mapping, a number in a list."""
    if isinstance(node, dict):
        return key
    if not isinstance(node, list):
        raise ValueError(f"{path} is a value, not a mapping")
    names = [item.get("name") if isinstance(item, dict) else None for item in node]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(node):
        return int(key)
    raise ValueError(f"{path} has no {key!r}; it has {names}")


def _override(tree: Any, text: str) -> None:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        raise UserError(f"--set {text}: a setting is written a.b=c")
    try:
        parsed = read_yaml(value)
    except YamlFault as error:
        raise UserError(f"--set {text}: the value is broken YAML, {error}") from error
    try:
        set_key(tree, path, parsed)
    except ValueError as error:
        raise UserError(f"--set {text}: {error}") from error


def _first_fault(error: ValidationError) -> str:
    """One line on the first fault: its path, what is wrong, what would be right."""
    # An unknown key first: it is the likeliest cause of whatever else is missing.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    location = fault["loc"]
    path = ".".join(map(str, location)) or "the recipe"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        known = sorted(_keys_at(Recipe, location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{path}: unknown key; {hint}{more}"
    if fault["type"] == "missing":
        return f"{path}: is missing{more}"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if fault["type"] == "value_error":  # a rule of ours, which names the values itself
        return f"{path}: {message}{more}"
    return f"{path}: {message}, found {fault['input']!r:.80}{more}"


def _keys_at(model: Any, location: Sequence[str | int]) -> set[str]:
    """The keys that are known at a location of the tree."""
    models = list(_models_in(model))
    for key in location:
        if isinstance(key, int):
            continue
        fields = [parent.model_fields[key] for parent in models if key in parent.model_fields]
        models = [inner for field in fields for inner in _models_in(field.annotation)]
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if annotation is StageKind:
        yield from STAGE_KINDS.values()
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (Union, types.UnionType, Annotated, list):
        for inner in typing.get_args(annotation):
            yield from _models_in(inner)
