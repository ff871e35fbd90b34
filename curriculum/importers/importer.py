"""What an importer is: a command with its options, and a function that writes a task set and returns a summary of it.

To add a data set, copy one of the modules in the folders here that reads one like it, and name its `Importer` in
`curriculum.importers.IMPORTERS`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from curriculum.task import Split, Task

_COUNTED = ("films", "reports")  # rows that `ImportSummary.films` counts
_NAMES_SHOWN = 5
_EXAMPLES_KEPT = 3
_LOUD_SHARE = 0.1  # an import that leaves out more says so in a line of its own


@dataclass(frozen=True)
class Option:
    """An option of an importer's command: `--NAME` on the command line, the parameter NAME of the importer's `run`.

    Attributes:
        name: the option without its dashes.
        help: what it is for, in a few words.
        kind: "folder" is a folder that exists, "path" a file or folder that exists, "paths" a list of these (the option
            may be repeated), "output" a path that may not exist yet, "integer" a whole number, "flag" one that takes no
            value, "spread" a flag whose parameter is a `Spread`: who does the work, a Ray cluster or this process.
        required: whether it must be given. One that is left out is None, 0 for an integer, False for a flag.
    """

    name: str
    help: str
    kind: Literal["folder", "path", "paths", "output", "integer", "flag", "spread"]
    required: bool = True


IMAGES = Option("images", "folder with the films, at any depth", "folder")
OUT = Option("out", "folder for the task set", "output")
SEED = Option("seed", "of the questions and, if the set has none, of the splits", "integer", required=False)
UNCERTAIN = Option("uncertain", "also ask what has the right answer Uncertain", "flag", required=False)
CLUSTER = Option(
    "cluster",
    "read the films on all cores of the Ray cluster, or of this machine if there is none",
    "spread",
    required=False,
)


@dataclass(frozen=True)
class Importer:
    """One command below `curlvpr data import`.

    Attributes:
        name: of the command.
        help: what the set is and which questions it gives, in a line or two.
        options: in the order of the command's help.
        run: takes every option as a keyword argument. Raises TaskSetError if the data cannot be used.
    """

    name: str
    help: str
    options: tuple[Option, ...]
    run: Callable[..., ImportSummary]


class Skipped(Counter[str]):
    """Rows that were left out, by reason, with the first few of a reason by name."""

    def __init__(self) -> None:
        super().__init__()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def note(self, reason: str, example: str) -> None:
        """Counts a row; `example` says which, and what is wrong with it."""
        self[reason] += 1
        if len(self.examples[reason]) < _EXAMPLES_KEPT:
            self.examples[reason].append(" ".join(example.split()))


def skip_lines(skipped: Counter[str], rows: str) -> list[str]:
    """A line for each reason: "3 films whose DICOM file cannot be read (a.dcm: …; …)"."""
    lines = []
    for reason, count in sorted(skipped.items()):
        examples = skipped.examples.get(reason, []) if isinstance(skipped, Skipped) else []
        more = "; …" if count > len(examples) else ""
        lines.append(f"{count:,} {rows} {reason}" + (f" ({'; '.join(examples)}{more})" if examples else ""))
    return lines


@dataclass
class ImportSummary:
    """What an import made of a set: counts of films (or reports), and of tasks by (domain, family, split)."""

    path: Path
    splits_from: str
    films: int = 0
    unlabelled: int = 0  # films whose findings are not known
    tasks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)  # image files that were not found
    skipped: Counter[str] = field(default_factory=Skipped)  # rows left out, by reason ("that were not labelled …")
    rows: str = "films"  # what the rows are that `skipped` counts
    remarks: Counter[str] = field(default_factory=Counter)  # what is not asked about rows that were kept

    def counted(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yields the tasks and counts each."""
        for task in tasks:
            self.tasks[task.domain, task.family, task.split] += 1
            yield task

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        counted = "reports" if self.rows == "reports" else "films"
        lines = [f"{self.films:,} {counted}, {self.tasks.total():,} tasks → {self.path}", f"splits: {self.splits_from}"]
        for domain, family in sorted({(domain, family) for domain, family, _ in self.tasks}):
            counts = ", ".join(f"{split} {self.tasks[domain, family, split]:,}" for split in get_args(Split))
            lines.append(f"{domain} {family}: {counts}")
        lines += self._lacking()
        if self.unlabelled:
            lines.append(
                f"{self.unlabelled:,} films have no labels of findings; they are asked about by view and report only"
            )
        if self.missing:
            names = ", ".join(self.missing[:_NAMES_SHOWN])
            more = ", …" if len(self.missing) > _NAMES_SHOWN else ""
            lines.append(f"skipped {len(self.missing):,} films without their image file: {names}{more}")
        lines += [f"{count:,} {remark}" for remark, count in sorted(self.remarks.items())]
        lines += [f"skipped {line}" for line in skip_lines(self.skipped, self.rows)]
        return lines + self._warning()

    def _lacking(self) -> list[str]:
        """A line for each split that lacks families which others have."""
        families = sorted({family for _, family, _ in self.tasks})
        lines = []
        for split in get_args(Split):
            there = {family for _, family, found in self.tasks if found == split}
            if lacking := [family for family in families if family not in there]:
                told = "a run needs the families that it trains in train, val and test"
                lines.append(f"none in {split}: {', '.join(lacking)}; {told}")
        return lines

    def _warning(self) -> list[str]:
        """A line that cannot be overlooked, if more than a tenth of the rows were left out."""
        used = self.films if self.rows in _COUNTED else self.tasks.total()
        left_out = self.skipped.total() + (len(self.missing) if self.rows == "films" else 0)
        if left_out <= _LOUD_SHARE * (used + left_out):
            return []
        share = left_out / (used + left_out)
        return [
            f"WARNING: {left_out:,} of {used + left_out:,} {self.rows} ({share:.0%}) were left out; see the lines above"
        ]
