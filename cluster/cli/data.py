"""`curlvpr data`: task sets, from your own copy of a data set or drawn."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from actors.runtime.files import disk_words, is_no_space
from cluster.errors import UserError, fail, one_line

if TYPE_CHECKING:
    from curriculum.importers.importer import Importer, Option
    from curriculum.sets.mapped import Spread


_NO_PATHS = ("integer", "flag", "spread")  # kinds of an importer's options


class _ImporterGroup(TyperGroup):
    """`curlvpr data import`: a command for each importer of `curriculum.importers`, built when one is needed.

    Contexts and commands are Any, since their classes moved between releases of Typer.
    """

    @cached_property
    def _of_importers(self) -> dict[str, Any]:
        from curriculum.importers import load_importers

        return import_commands(load_importers())

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._of_importers)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._of_importers.get(cmd_name)


OnCluster = Annotated[
    bool, typer.Option("--cluster", help="on all cores of the Ray cluster, or of this machine if there is none")
]
data = typer.Typer(help="Task sets: import your own copy of a data set, or draw phantoms.", no_args_is_help=True)
data.add_typer(
    typer.Typer(
        cls=_ImporterGroup,
        help="Write a task set from a labelled set of films, or from ready questions.",
        no_args_is_help=True,
    ),
    name="import",
)


@data.command()
def check(
    tasks: Annotated[Path, typer.Argument(help="a task set: its Parquet file, or the folder that holds tasks.parquet")],
    recipe: Annotated[Path | None, typer.Option(help="count tokens with its model, against its budget")] = None,
    html: Annotated[Path | None, typer.Option(help="write the summary to this page, with films to look at")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="no films on the page, for patient data")] = False,
    cluster: OnCluster = False,
) -> None:
    """Report every bad row with its number and the reason, then what the set holds. Exits with 2 if a row is bad."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.config.recipe_file import load_recipe
    from cluster.standalone.data_check import check

    with _on_cluster(cluster) as spread:
        good = check(tasks, load_recipe(recipe) if recipe else None, html, not no_images, spread)
    sys.exit(0 if good else 2)


@data.command()
def traces(
    tasks: Annotated[Path, typer.Argument(help="a task set whose tasks have reports, or labels alone")],
    out: Annotated[Path, typer.Option(help="folder for the task set with traces; what is there is continued")],
    writer: Annotated[Literal["report", "teacher", "policy"], typer.Option(help="who writes the traces")] = "report",
    seed: Annotated[int, typer.Option(help="of the choice of words, and of sampling")] = 0,
    per_task: Annotated[int, typer.Option(min=1, help="traces of a task at most, the most diverse ones")] = 1,
    attempts: Annotated[int, typer.Option(min=1, help="how often a task is tried until a trace is accepted")] = 3,
    grounding: Annotated[float, typer.Option(min=0, max=1, help="the least grounding of a step")] = 0.8,
    max_words: Annotated[int, typer.Option(min=10, help="of a trace")] = 600,
    teacher: Annotated[Path | None, typer.Option(help="settings of the teacher, a YAML file (docs/traces.md)")] = None,
    model: Annotated[Path | None, typer.Option(help="the policy: a model folder")] = None,
    recipe: Annotated[Path | None, typer.Option(help="the policy's prompt and engine; by default its run's")] = None,
    samples: Annotated[int, typer.Option(min=1, help="responses of the policy to a task at each try")] = 8,
    temperature: Annotated[float, typer.Option(min=0, help="of the policy's sampling")] = 1.0,
    html: Annotated[Path | None, typer.Option(help="write the summary to this page, with examples and films")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="no films on the page, for patient data")] = False,
    cluster: OnCluster = False,
) -> None:
    """Give tasks interleaved gold traces: from their reports, by a teacher, or by the policy. Keep what verifies."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from actors.runtime.remote import RemoteFailure
    from cluster.standalone.traces.make import TracePlan, find_tasks, make_traces
    from cluster.standalone.traces.writers import WriterChoice, open_writer
    from rewards.traces.verifier import VerifierConfig

    if cluster and writer == "policy":
        raise UserError("--writer policy does not take --cluster: its workers are on the cluster in any case")
    choice = WriterChoice(writer, seed, attempts, teacher, model, recipe, samples, temperature)
    verifier = VerifierConfig(grounding=grounding, max_words=max_words)
    plan = TracePlan(tasks, out, per_task, verifier, html, not no_images)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        found = find_tasks(tasks)
        with _on_cluster(cluster) as spread, open_writer(choice, found, log) as opened:
            make_traces(plan, found, opened, log, spread)
    except RemoteFailure as error:
        fail(str(error), 1)


@data.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="folder for the task set")],
    train: Annotated[int | None, typer.Option(help="films to train on")] = None,
    val: Annotated[int | None, typer.Option(help="films to validate with")] = None,
    test: Annotated[int | None, typer.Option(help="films to test with")] = None,
    trace_recall: Annotated[float | None, typer.Option(help="share of the findings that gold traces mention")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the films")] = None,
    hospital: Annotated[str | None, typer.Option(help="home, or away: other patients and another scanner")] = None,
) -> None:
    """Draw chest phantoms as a task set. What is left out is as in the setting data.phantoms."""
    from pydantic import ValidationError

    from curriculum.importers.importer import ImportSummary
    from curriculum.importers.parts.output import output_folder
    from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
    from curriculum.strict import fault_text
    from curriculum.taskset import FILE_NAME, TaskSetError, write_tasks

    counts = {"train": train, "val": val, "test": test}
    given = {**counts, "trace_recall": trace_recall, "seed": seed, "hospital": hospital}
    try:
        config = PhantomConfig(**{name: value for name, value in given.items() if value is not None})
        summary = ImportSummary(out / FILE_NAME, "as the options say", films=config.train + config.val + config.test)
        with output_folder(out):
            write_tasks(summary.counted(draw_phantom_set(config, out)), out)
    except ValidationError as error:
        raise UserError(f"data phantoms: {one_line(fault_text(error.errors()[0]))}") from error
    except TaskSetError as error:
        raise UserError(str(error)) from error
    print("\n".join(summary.lines()))


def import_commands(importers: Iterable[Importer]) -> dict[str, Any]:
    """The command of each importer by its name, with the options that the importer declares."""
    app = typer.Typer()
    app.callback()(lambda: None)  # else an app of one command has no group
    for importer in importers:
        app.command(importer.name, help=importer.help)(_command_function(importer))
    group = typer.main.get_group(app)
    return dict(group.commands)


def _command_function(importer: Importer) -> Any:
    """A function with the importer's options as its parameters, from which Typer makes the command."""

    def command(**values: Any) -> None:
        _run(importer, values)

    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(option),
            annotation=Annotated[_type(option), typer.Option(f"--{option.name}", help=option.help)],
        )
        for option in importer.options
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _type(option: Option) -> Any:
    """What Typer reads the option's value as."""
    value = {"integer": int, "flag": bool, "spread": bool, "paths": list[Path]}.get(option.kind, Path)
    return value if option.required or option.kind in _NO_PATHS else value | None


def _default(option: Option) -> Any:
    if option.required:
        return inspect.Parameter.empty
    return {"integer": 0, "flag": False, "spread": False}.get(option.kind)


def _run(importer: Importer, values: dict[str, Any]) -> None:
    """Runs an importer and prints the summary of the task set.

    Raises:
        UserError: a path does not exist, or what it holds cannot be used.
    """
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()  # Pillow, for one, warns of every odd film
    from pydantic import ValidationError

    from curriculum.importers.parts.output import output_folder
    from curriculum.strict import fault_text
    from curriculum.taskset import TaskSetError

    for option in importer.options:
        _check_paths(option, values[option.name])
    try:
        with ExitStack() as stack:
            for option in importer.options:
                if option.kind == "output" and values[option.name] is not None:
                    stack.enter_context(output_folder(values[option.name]))
            for option in importer.options:
                if option.kind == "spread":  # inside: what its processes write at the end is taken back, too
                    values[option.name] = stack.enter_context(_on_cluster(values[option.name])) or map
            summary = importer.run(**values)
    except TaskSetError as error:
        if is_no_space(error.__cause__):
            out = next(values[option.name] for option in importer.options if option.kind == "output")
            raise UserError(f"{out}: no space left on {disk_words(out)}; nothing was written") from error
        raise UserError(str(error)) from error
    except ValidationError as error:  # what a set holds makes no task, and its importer did not say so
        raise UserError(f"{importer.name}: {one_line(fault_text(error.errors()[0]))}") from error
    print("\n".join(summary.lines()))


@contextmanager
def _on_cluster(wanted: bool) -> Iterator[Spread | None]:
    """Who does the work inside: the Ray cluster that a run would use or, without one wanted, this process (None)."""
    if not wanted:
        yield None
        return
    from actors.runtime.remote import RemoteFailure
    from cluster.standalone.spread import spread_over

    try:
        with spread_over() as spread:
            yield spread
    except RemoteFailure as error:
        fail(str(error), 1)


def _check_paths(option: Option, value: Any) -> None:
    """Raises UserError if a path that the user gave does not exist, or has bytes that are no text."""
    if value is None or option.kind in _NO_PATHS:
        return
    for path in value if option.kind == "paths" else [value]:
        if not _is_text(str(path)):
            raise UserError(f"--{option.name} {str(path)!a}: this path has bytes that are no UTF-8; rename it")
        if option.kind == "folder" and not path.is_dir():
            raise UserError(f"--{option.name} {path}: no such folder")
        if option.kind in ("path", "paths") and not path.exists():
            raise UserError(f"--{option.name} {path}: no such file or folder")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
