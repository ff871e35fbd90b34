"""`curlvpr reward`: the rules, applied to texts and responses in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cluster.errors import UserError

if TYPE_CHECKING:
    from rewards.config import RewardConfig

reward = typer.Typer(
    help="Apply the rules: what they read in a text, what a response is worth and why.", no_args_is_help=True
)


@reward.command("extract")
def reward_extract(
    file: Annotated[Path, typer.Argument(help='JSON lines, each {"text": "…"}; - for standard input')],
    explain: Annotated[bool, typer.Option("--explain", help="show the words, cue, scope and reason instead")] = False,
) -> None:
    """Print the findings that each text asserts, denies or leaves open, as JSON lines with NIH ChestX-ray14 names."""
    from cluster.standalone.reward_file import explain_lines, extract_lines

    for line in explain_lines(file) if explain else extract_lines(file):
        print(line)


_Responses = Annotated[Path, typer.Argument(help="JSON lines: domain, options, gold, response; - for standard input")]
_Preset = Annotated[
    Literal["strict", "paper"] | None, typer.Option(help="our rules (default), or those of the CX-Mind paper")
]
_Rules = Annotated[Path | None, typer.Option("--recipe", help="score by the rules of this recipe instead")]


@reward.command("score")
def reward_score(file: _Responses, preset: _Preset = None, recipe: _Rules = None) -> None:
    """Print what each response is worth, and why, as JSON lines."""
    from cluster.standalone.reward_file import score_lines

    for line in score_lines(file, _rules(preset, recipe)):
        print(line)


@reward.command("read")
def reward_read(file: _Responses) -> None:
    """Print how the final answer of each response is read, and if it is not, why not, as JSON lines."""
    from cluster.standalone.reward_read import print_readings

    print_readings(file)


@reward.command("explain")
def reward_explain(
    file: _Responses,
    line: Annotated[int, typer.Option(min=1, help="which line of the file")] = 1,
    preset: _Preset = None,
    recipe: _Rules = None,
) -> None:
    """Show one response: each step with its verdict, faults where they occur, and the reason for every point."""
    from rich.console import Console

    from cluster.standalone.reward_explain import explain
    from cluster.standalone.reward_file import nth_row

    config = _rules(preset, recipe)
    explain(nth_row(file, line, config), config, Console(highlight=False))


@reward.command("check")
def reward_check(
    rule: Annotated[str, typer.Argument(help="module:function, the module installed or in the working directory")],
    file: Annotated[Path | None, typer.Argument(help="responses as for score; by default built-in samples")] = None,
    options: Annotated[str, typer.Option(metavar="JSON", help="options of the rule, by name")] = "{}",
) -> None:
    """Check a rule of your own: values in [0, 1], the same twice, no exception; show how long a call takes."""
    from cluster.standalone.reward_check import check_lines

    for line in check_lines(rule, options, file):
        print(line, flush=True)


def _rules(preset: str | None, recipe: Path | None) -> RewardConfig:
    from cluster.standalone.reward_file import recipe_rules
    from rewards.config import RewardConfig

    if preset and recipe:
        raise UserError("--preset and --recipe: give one of them; a recipe has its own rules")
    return recipe_rules(recipe) if recipe else RewardConfig(preset=preset or "strict")
