"""The `curlvpr reward` commands that read JSON lines: a row becomes a task and a response, a verdict becomes a line."""

from __future__ import annotations

import contextlib
import json
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from cluster.errors import UserError
from curriculum.forms import DEFAULT_FORM
from curriculum.strict import fault_text
from curriculum.task import Task
from rewards.calls.own_rules import rules_of
from rewards.config import RewardConfig
from rewards.custom_rules import RuleError, check_own
from rewards.findings.explain import explained, lines
from rewards.findings.extract import extract
from rewards.forms import FORMS
from rewards.forms.base import WrittenGold, gold_as_written
from rewards.score import Answer, score, score_all
from rewards.verdict import Verdict

ROWS_AT_ONCE = 256
_TEXT_LINE = '{"text": "…"}'
_RESPONSE_LINE = '{"domain": "closed", "options": {"A": "…", "B": "…"}, "gold": ["B"], "response": "…"}'
_OPTIONS = '{"A": "Mass", "B": "Edema"}'
_PARTS = ("total", "format", "outcome", "process", "reason", "answer", "steps", "faults", "why")


@dataclass(frozen=True)
class Row:
    """One line of a file: `where` names file and line."""

    where: str
    task: Task
    response: str
    truncated: bool

    def score(self, config: RewardConfig) -> Verdict:
        return score(self.task, self.response, config, self.truncated)


def extract_lines(path: Path) -> Iterator[str]:
    """{"present": […], "absent": […], "uncertain": […]} with NIH names for each {"text": …} of a file of JSON lines.

    Raises:
        UserError: the file cannot be read, or a line is not such an object; lines are counted from 1.
    """
    for _, values in _objects(path, "text", _TEXT_LINE):
        findings = extract(values["text"])
        yield json.dumps({status: sorted(getattr(findings, status)) for status in ("present", "absent", "uncertain")})


def explain_lines(path: Path) -> Iterator[str]:
    """For each {"text": …} of a file of JSON lines, its findings and why they are read so, in lines for people.

    Raises:
        UserError: as `extract_lines`.
    """
    for where, values in _objects(path, "text", _TEXT_LINE):
        yield where
        for explanation in explained(values["text"]):
            yield from (f"  {line}" for line in lines(explanation))


def score_lines(path: Path, config: RewardConfig) -> Iterator[str]:
    """The verdict on each row of a file, a JSON object each; with the preset `paper` also `overall` and `base`.

    Raises:
        UserError: as `read_rows`.
    """
    for verdict in score_rows(read_rows(path, config), config):
        parts = verdict.to_dict()
        line = {part: parts[part] for part in _PARTS}
        if verdict.more:
            line |= {"more": parts["more"], "failed": parts["failed"]}
        if config.preset == "paper":  # its batch gate is open here
            line |= {"overall": verdict.total, "base": verdict.base}
        yield json.dumps(line)


def score_rows(rows: Iterable[Row], config: RewardConfig) -> Iterator[Verdict]:
    """The verdict on each row, in order. Own rules that wait judge many rows at once."""
    rules = rules_of(config)
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_ONCE if rules.runners else 1)):
        yield from score_all([Answer(row.task, row.response, row.truncated) for row in some], config, rules)


def read_rows(path: Path, config: RewardConfig) -> Iterator[Row]:
    """The rows of a file of JSON lines; docs/rewards.md describes the lines. "-" is standard input.

    Raises:
        UserError: the file cannot be read, or a line is not a task with a response; lines are counted from 1.
    """
    for where, values in _objects(path, "response", _RESPONSE_LINE):
        yield read_row(where, values, config)


def nth_row(path: Path, number: int, config: RewardConfig) -> Row:
    """Row `number` of a file, counted from 1; the others need not be right.

    Raises:
        UserError: as `read_rows`, or there is no such line.
    """
    count = 0
    for count, line in _lines(path):
        if count == number:
            where = _where(path, number)
            return read_row(where, _object(line, where, "response", _RESPONSE_LINE), config)
    raise UserError(f"{_name(path)}: has no line {number}; it has {count}")


def recipe_rules(path: Path) -> RewardConfig:
    """The rules of a recipe, with its own rules loaded.

    Raises:
        UserError: the recipe cannot be read, or one of its own rules cannot be used.
    """
    from cluster.config.recipe_file import load_recipe

    rules = load_recipe(path).reward.rules
    try:
        check_own(rules.own)
    except RuleError as error:
        raise UserError(f"{path}: {error}") from error
    if rules.rarity and not rules.finding_weights:
        print(
            f"{path}: rarity {rules.rarity:g} needs the train tasks of a run; here all findings weigh the same",
            file=sys.stderr,
        )
    return rules


def read_row(where: str, values: Mapping[str, Any], config: RewardConfig) -> Row:
    """The row that an object holds, `where` naming its place. Raises UserError: it is no task with a response."""
    truncated = values.get("truncated") or False
    if not isinstance(truncated, bool):
        raise UserError(f"{where}: truncated must be true or false, found {truncated!r:.80}")
    return Row(where, _task(where, values, config.preset == "paper"), values["response"], truncated)


def _task(where: str, values: Mapping[str, Any], paper: bool) -> Task:
    domain = values.get("domain")
    if domain not in tuple(DEFAULT_FORM):  # a tuple takes any JSON value, a dict only what can be hashed
        raise UserError(f'{where}: "domain" must be closed or open, found {domain!r:.80}')
    name = values.get("form") or DEFAULT_FORM[domain]
    form = FORMS.get(name) if isinstance(name, str) else None  # the task refuses an unknown form
    texts = _gold(where, values, has_number_lists=form is not None and form.has_number_lists)
    written = WrittenGold(texts, isinstance(values["gold"], str), _options(where, values))
    try:
        read = form.read_gold(written) if form else gold_as_written(written)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    try:
        task = Task(
            id=where,
            domain=domain,
            family="file",
            question=values.get("question") or "?",
            options=read.options,
            form=name,
            gold=tuple(read.gold),
            images=("-",),
            reference=values.get("reference"),
        )
    except ValidationError as error:
        raise UserError(f"{where}: {fault_text(error.errors()[0])}") from error
    if paper and read.published is not None:
        return task.model_copy(update={"gold": read.published})
    return task


def _gold(where: str, values: Mapping[str, Any], has_number_lists: bool) -> list[str]:
    gold = values.get("gold")
    texts = [gold] if isinstance(gold, str) else gold
    if isinstance(texts, list) and has_number_lists:
        texts = [str(item) if isinstance(item, list) else item for item in texts]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f'{where}: "gold" must be a list of strings, found {gold!r:.80}; a line is {_RESPONSE_LINE}')
    return texts


def _options(where: str, values: Mapping[str, Any]) -> dict[str, str]:
    options = values.get("options") or {}
    if isinstance(options, list):
        options = dict(zip(string.ascii_uppercase, options, strict=False))
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        raise UserError(f'{where}: "options" must be letters and texts, as {_OPTIONS}, found {options!r:.80}')
    return dict(sorted(options.items()))


def _objects(path: Path, key: str, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the place and the object of each line; under `key` it holds a string."""
    for number, line in _lines(path):
        where = _where(path, number)
        yield where, _object(line, where, key, example)


def _object(line: bytes, where: str, key: str, example: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: no JSON ({str(error).splitlines()[0]}); a line is {example}") from error
    if not isinstance(values, dict) or not isinstance(values.get(key), str):
        raise UserError(f'{where}: no "{key}" that is a string; a line is {example}')
    return values


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with _opened(path) as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _opened(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if path == Path("-") else path.open("rb")


def _where(path: Path, number: int) -> str:
    return f"{_name(path)}: line {number}"


def _name(path: Path) -> str:
    return "standard input" if path == Path("-") else str(path)
