"""`curlvpr data check`: prints every fault of a task set, then what the set holds; writes a page of it on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress, TaskID

from actors.model.check_tokens import FittingSettings, check_tokens
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.outputs import check_file, told
from cluster.terminal import rich_table
from curriculum.check import check_tasks
from curriculum.missing import valid_text
from curriculum.sets.mapped import Spread
from curriculum.sets.task_table import valid_tasks
from curriculum.summary import FAULTS_KEPT, Summary
from curriculum.taskset import TaskRow, TaskSetError, task_file, task_files


def check(
    path: Path,
    recipe: Recipe | None = None,
    page: Path | None = None,
    images: bool = True,
    spread: Spread | None = None,
) -> bool:
    """Prints each fault, in order of rows, then the summary.

    Args:
        path: the task set, file or folder.
        recipe: if given, lengths are counted in tokens of its model and checked against its budget.
        page: if given, an HTML page with the summary is written there.
        images: whether the page shows films.
        spread: who reads the set and decodes its images; this process if None.

    Returns:
        Whether the set has no fault.

    Raises:
        UserError: the file cannot be read at all, or the recipe's model cannot be used.
    """
    if valid_text(str(path)) != str(path):
        raise UserError(f"{str(path)!a}: this path has bytes that are no UTF-8; rename it")
    if page:
        check_file("--html", page)
    console = Console(highlight=False)
    summary = Summary(tokens=recipe is not None)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("decoding images", total=None)
            decoding = partial(_show_decoding, progress, bar)
            rows, fitting = _rows(path, recipe, console, spread, decoding)
            for row in progress.track(rows, total=_count(path), description="checking"):
                for fault in row.faults:
                    console.print(row.describe(fault), markup=False, soft_wrap=True)
                summary.add(row)
    except TaskSetError as error:
        raise UserError(str(error)) from error
    if not summary.rows:
        raise UserError(f"{task_file(path)}: it has no row; a task set has one for each task")
    for table in summary.tables():
        console.print(rich_table(table))
    if page:
        _write_page(page, path, summary, images)
        console.print(f"page → {page}", markup=False, soft_wrap=True)
    for line in (summary.conclusion(), fitting.words() if fitting else ""):
        if line:
            console.print(line, markup=False, soft_wrap=True)
    return not summary.bad_rows


def _write_page(page: Path, path: Path, summary: Summary, images: bool) -> None:
    from cluster.reporting.pages import render, thumbnail, write_page

    file = task_file(path)
    html = render(
        "data.html.j2",
        name=file.parent.name,
        path=file,
        summary=summary,
        shown=FAULTS_KEPT,
        images=images,
        thumbnail=thumbnail,
    )
    with told("--html", page):
        write_page(page, html)


def _show_decoding(progress: Progress, bar: TaskID, done: int, images: int) -> None:
    progress.update(bar, completed=done, total=images)


def _rows(
    path: Path,
    recipe: Recipe | None,
    console: Console,
    spread: Spread | None,
    decoding: Callable[[int, int], None],
) -> tuple[Iterator[TaskRow], FittingSettings | None]:
    """The checked rows. With a recipe they have their numbers of tokens, and the settings that would fit are known once
    all rows are read; what is remarkable of its model is printed.
    """
    rows = check_tasks(path, spread=spread, decoding=decoding)
    if recipe is None:
        return rows, None
    from cluster.planning.model_check import check_folder_models, check_model
    from cluster.run.prepare import model_folder, token_budget

    with TemporaryDirectory() as folder:
        if recipe.model.tiny:  # makes the tokenizer as the run will; the weights do not matter here
            blind = recipe.model.tiny.model_copy(update={"vision_steps": 0})
            recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"tiny": blind})})
        train = valid_tasks({"": path}).of_split("train")
        model = check_model(model_folder(recipe, Path(folder), train), "model.path", recipe.prompt_config)
    for remark in (*model.remarks, *check_folder_models(recipe, model)):
        console.print(remark, markup=False, soft_wrap=True)
    budget = token_budget(recipe)
    fitting = FittingSettings(model.encoder, budget)
    return fitting.counted(check_tokens(rows, model.encoder, budget)), fitting


def _count(path: Path) -> int | None:
    """The number of rows of the file, for the progress bar; None if the file cannot be read."""
    try:
        return sum(pq.read_metadata(file).num_rows for file in task_files(path))
    except (pa.ArrowException, OSError, UnicodeError, TaskSetError):
        return None
