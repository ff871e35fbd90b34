"""The tasks of a recipe that are read from disk: checked, or known to be right since an earlier check."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np

from actors.model.check_tokens import FittingSettings, TokenBudget, check_tokens
from actors.model.encode import Encoder
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from curriculum.check import bad_rows, check_tasks
from curriculum.sets.checked_rows import BadRows, CheckedRows, state_of
from curriculum.sets.mapped import open_tasks
from curriculum.sets.overlap import overlaps
from curriculum.sets.source import Source
from curriculum.sets.task_table import Part, TaskTable
from curriculum.taskset import RowFault, TaskRow, TaskSetError, task_folder

Say = Callable[[str], None]


class TaskSources:
    """The task sets of a recipe.

    Args:
        recipe: names at least one.
        say: is told what takes long.

    Attributes:
        dropped: bad rows by the kind of their first fault, if the recipe drops them.

    Raises:
        UserError: a set cannot be read; or it has a bad row and the recipe does not drop them.
    """

    def __init__(self, recipe: Recipe, say: Say) -> None:
        self.drops, self.say = recipe.data.drop_bad_rows, say
        self.dropped: Counter[str] = Counter()
        sources = recipe.data.sources or (None,) * len(recipe.data.sets)
        sets = zip(recipe.data.sets.items(), sources, strict=True)
        self._sets = [_TaskSet(setting, path, source, say) for (setting, path), source in sets]
        for task_set in self._sets:
            self._leave_out(task_set, task_set.bad_rows())
            task_set.keep_limit()
        if len(self._sets) > 1:
            self._check_overlaps()

    def table(self) -> TaskTable:
        """The tasks that are used."""
        used = np.concatenate([task_set.used for task_set in self._sets])
        return TaskTable([task_set.part for task_set in self._sets], np.flatnonzero(used))

    def check_tokens(self, encoder: Encoder, budget: TokenBudget) -> None:
        """Leaves out rows that are too long, or hold special tokens. Raises UserError, as the class."""
        for task_set in self._sets:
            self._leave_out(task_set, task_set.bad_by_tokens(encoder, budget))

    def _check_overlaps(self) -> None:
        """Leaves out train tasks whose patient or film another source holds out. Raises UserError, as the class."""
        key = " ".join(task_set.key("overlaps") for task_set in self._sets)
        found = cache(lambda: overlaps(self.table()))
        first = 0
        for task_set in self._sets:
            self._leave_out(task_set, task_set.known(key, partial(task_set.bad_by_overlap, found, first)), False)
            first += len(task_set.used)

    def _leave_out(self, task_set: _TaskSet, bad: BadRows, shown: bool = True) -> None:
        """Drops bad rows, or refuses them. `shown`: whether `curlvpr data check` shows them."""
        if bad.kinds and not self.drops:
            more = f" (and {len(bad.kinds) - 1:,} more bad rows)" if len(bad.kinds) > 1 else ""
            where = f". All are shown by `curlvpr data check {task_set.path} --recipe …`" if shown else ""
            advice = f"; {bad.advice}" if bad.advice else ""
            raise UserError(
                f"{task_set.setting}: {task_set.path}: {bad.first}{more}{where}; data.drop_bad_rows=true trains "
                f"without them{advice}"
            )
        if bad.advice:
            self.say(bad.advice)
        self.dropped.update(bad.counts)
        task_set.used[list(bad.kinds)] = False


class _TaskSet:
    """A task set of a recipe.

    Attributes:
        setting: of the recipe, that names the set.
        used: [rows] bool, the rows that are used.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, setting: str, path: Path, source: Source | None, say: Say) -> None:
        self.setting, self.path, self.source = setting, path, source
        try:
            self.part = Part(source.name if source else "", open_tasks(path, say=say))
        except TaskSetError as error:
            raise UserError(f"{setting}: {error}") from error
        self.used = self._wanted()
        self._state = state_of(self.part.tasks)
        self._checked = CheckedRows(task_folder(path))

    def bad_rows(self) -> BadRows:
        """Rows that are no valid tasks, or whose images cannot be read."""
        return self.known(
            self.key("rows"),
            lambda: BadRows.among(row for row in bad_rows(self.part.tasks) if self.used[row.number]),
        )

    def bad_by_overlap(self, find: Callable[[], Mapping[int, str]], first: int) -> BadRows:
        """Rows that `find` names, whose rows are counted from the one that is `first` here."""
        reasons = {row - first: reason for row, reason in find().items() if 0 <= row - first < len(self.used)}
        table = TaskTable([self.part], np.array(sorted(reasons)))
        return BadRows.among(
            TaskRow(row, task.id.removeprefix(f"{self.part.source}/"), task, [RowFault("two splits", reasons[row])])
            for row, task in zip(sorted(reasons), table, strict=True)
        )

    def bad_by_tokens(self, encoder: Encoder, budget: TokenBudget) -> BadRows:
        """Rows that the model's processor refuses, or that are too long, and the settings that would fit them."""
        fitting = FittingSettings(encoder, budget)
        rows = fitting.counted(check_tokens(self._rows(), encoder, budget))
        settings = (
            f"{encoder.fingerprint} {budget.sequence} {budget.response} {sorted(budget.asked)} {sorted(budget.taught)}"
        )
        return self.known(self.key(settings), lambda: BadRows.among(rows, fitting.words))

    def known(self, key: str, check: Callable[[], BadRows]) -> BadRows:
        """The outcome of a check of this set, if it was made before, or else made now."""
        return self._checked.known(key, check)

    def keep_limit(self) -> None:
        """Uses no more train tasks than the source's limit allows, always the same ones."""
        if self.source is None or self.source.limit is None:
            return
        table = TaskTable([self.part], np.flatnonzero(self.used))
        train = table.of_split("train").rows
        self.used[np.random.default_rng(0).permutation(train)[self.source.limit :]] = False

    def _rows(self) -> Iterator[TaskRow]:
        return (row for row in check_tasks(self.path, again=False) if self.used[row.number])

    def _wanted(self) -> np.ndarray:
        """The rows of the source's families and splits. Rows that are no tasks have neither, and count as wanted."""
        wanted: np.ndarray = np.ones(len(self.part.tasks), bool)
        table = TaskTable([self.part], np.arange(len(wanted)))
        used = {"family": self.source.families, "split": self.source.splits} if self.source else {}
        for column, values in used.items():
            texts, codes = table.codes(column)
            named = [number for number, text in enumerate(texts) if text in values]
            if values:
                wanted &= np.isin(codes, [*named, -1])
        return wanted

    def key(self, check: str) -> str:
        """What a check depends on: rows, images, and which rows are used."""
        used = np.packbits(self.used).tobytes()
        return hashlib.blake2b(f"{self._state} {check}".encode() + used, digest_size=16).hexdigest()
