"""The command line. Heavy imports happen inside the commands, so that help and typos answer at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(help="Curriculum reinforcement learning with verifiable process rewards for chest X-ray models, on Ray.",
                  no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(help="Task sets: import your own copy of a data set.", no_args_is_help=True)
importers = typer.Typer(help="Write a task set from a labelled set of films.", no_args_is_help=True)
app.add_typer(data, name="data")
data.add_typer(importers, name="import")


def main() -> None:
    """The entry point: every expected fault becomes one line and an exit code (2 for input, 1 for a run that failed)."""
    from .errors import UserError

    try:
        app()
    except UserError as error:
        _fail(str(error), 2)


def _fail(text: str, code: int) -> None:
    print(f"curlvpr: {text}", file=sys.stderr)
    sys.exit(code)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="a recipe, such as recipes/quickstart.yaml")],
    name: Annotated[Optional[str], typer.Option(help="of the run folder; the recipe's, with a number, where left out")] = None,
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
) -> None:
    """Train: supervised cold start, closed and open stages, a model folder at the end."""
    from actors.environment import quiet_libraries

    quiet_libraries()
    from .recipe import load_recipe
    from .run_folder import run_path
    from .session import start

    settings = load_recipe(recipe, set or [])
    sys.exit(start(settings, run_path(settings, name)))


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart")]) -> None:
    """Go on with a run that was stopped, from its newest checkpoint."""
    from actors.environment import quiet_libraries

    quiet_libraries()
    from .errors import UserError
    from .recipe import load_recipe
    from .session import go_on

    if not (run / "recipe.yaml").is_file():
        raise UserError(f"{run}: no run folder; it has no recipe.yaml")
    sys.exit(go_on(load_recipe(run / "recipe.yaml"), run.absolute()))


@importers.command()
def nih(
    images: Annotated[Path, typer.Option(help="folder with the films, at any depth")],
    labels: Annotated[Path, typer.Option(help="Data_Entry_2017.csv, or a Parquet file of labels")],
    out: Annotated[Path, typer.Option(help="folder for the task set")],
    seed: Annotated[int, typer.Option(help="of the questions and, where the labels have none, of the splits")] = 0,
) -> None:
    """NIH ChestX-ray14: yes/no, one of several, several of several, and the diagnosis list, for every film."""
    from curriculum.nih import import_nih
    from curriculum.taskset import TaskSetError

    from .errors import UserError

    if not images.is_dir():
        raise UserError(f"--images {images}: no such folder")
    if not labels.is_file():
        raise UserError(f"--labels {labels}: no such file")
    try:
        summary = import_nih(images, labels, out, seed)
    except TaskSetError as error:
        raise UserError(str(error)) from error
    print("\n".join(summary.lines()))


if __name__ == "__main__":
    main()
