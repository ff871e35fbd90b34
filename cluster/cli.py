"""The command line. Heavy imports happen inside the commands, so that help and typos answer at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

if TYPE_CHECKING:
    from curriculum.importers.films import ImportSummary
    from rewards.config import RewardConfig

app = typer.Typer(help="Curriculum reinforcement learning with verifiable process rewards for chest X-ray models, on Ray.",
                  no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(help="Task sets: import your own copy of a data set.", no_args_is_help=True)
importers = typer.Typer(help="Write a task set from a labelled set of films, or from ready questions.", no_args_is_help=True)
reward = typer.Typer(help="Rules: what they read in a text, what a response is worth and why.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(reward, name="reward")
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
    """Go on with a run that is paused, or with one that was stopped, from its newest checkpoint."""
    from actors.environment import quiet_libraries

    quiet_libraries()
    control = _control(run)
    if control.told_status(run)["status"] == "paused":
        control.ask(run, control.Wish("resume"))
        print(f"{run}: it was paused, and goes on")
        return
    import ray

    from .recipe import load_recipe
    from .session import go_on

    ray.shutdown()  # the connection to where it went on before
    sys.exit(go_on(load_recipe(run / "recipe.yaml"), run.absolute()))


_Run = Annotated[Path, typer.Argument(help="the folder of a run that goes on, such as runs/quickstart")]


@app.command()
def status(run: _Run, as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """How a run stands: stage, step, version, workers by state, ledger, throughput, staleness."""
    import json
    import time

    told = _control(run).told_status(run)
    if as_json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        if name == "workers":
            value = "; ".join(f"{kind}: {', '.join(f'{n} {state}' for state, n in states.items())}" for kind, states in value.items())
        elif name == "told_at":
            name, value = "told", f"{time.time() - value:.0f} s ago"
        elif isinstance(value, dict):
            value = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items())
        elif isinstance(value, float):
            value = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        print(f"{name.replace('_', ' '):>14}  {value}")


@app.command()
def scale(
    run: _Run,
    rollout: Annotated[Optional[int], typer.Option(min=1, help="how many rollout workers from the next step on")] = None,
    reward: Annotated[Optional[int], typer.Option(min=1, help="how many reward workers from the next step on")] = None,
) -> None:
    """Change the number of workers while the run goes on; who is too many finishes its work first."""
    from .errors import UserError

    if rollout is None and reward is None:
        raise UserError("scale: give --rollout, --reward or both")
    _ask(run, "scale", rollout, reward)


@app.command()
def pause(run: _Run) -> None:
    """Let a run wait after its present step; `curlvpr resume` lets it go on."""
    _ask(run, "pause")


@app.command()
def checkpoint(run: _Run) -> None:
    """Let a run commit a checkpoint after its present step."""
    _ask(run, "checkpoint")


@app.command()
def stop(run: _Run) -> None:
    """Let a run finish its present step, commit and end; `curlvpr resume` goes on with it later."""
    _ask(run, "stop")


def _control(run: Path) -> ModuleType:
    """The module that talks to runs. Ray is imported with it: with the environment that the run's cluster wants."""
    from .run_address import find_address

    find_address(run)
    from . import control

    return control


def _ask(run: Path, what: str, *counts: Optional[int]) -> None:
    control = _control(run)
    control.ask(run, control.Wish(what, *counts))
    print(f"{run}: asked; it is done after the step that the run is at")


_Images = Annotated[Path, typer.Option(help="folder with the films, at any depth")]
_Out = Annotated[Path, typer.Option(help="folder for the task set")]
_Seed = Annotated[int, typer.Option(help="of the questions and, where the set has none, of the splits")]


@app.command("eval")
def evaluate(
    model: Annotated[list[Path], typer.Option(help="a model folder, such as runs/quickstart/model; may be repeated")],
    tasks: Annotated[Path, typer.Option(help="a task set, such as runs/quickstart/data")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    recipe: Annotated[Optional[Path], typer.Option(help="for prompt and engine; by default that of the model's run")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
    answers: Annotated[Optional[Path], typer.Option(help="write every answer to this new file, a JSON line each")] = None,
    bertscore_model: Annotated[Optional[Path], typer.Option(help="folder of an encoder: BERTScore of texts, too")] = None,
    bertscore_layer: Annotated[Optional[int], typer.Option(help="of that encoder; its last by default")] = None,
) -> None:
    """Let models answer the tasks of a split; later models are compared with the first."""
    from actors.environment import quiet_libraries

    quiet_libraries()
    import json

    from actors.waiting import RemoteFailure

    from .errors import UserError
    from .eval_tables import print_tables
    from .model_eval import check_new_file, evaluate, find_scorer, find_subjects, find_tasks

    if answers:
        check_new_file(answers)
    if bertscore_layer and not bertscore_model:
        raise UserError("--bertscore-layer needs --bertscore-model")
    subjects, asked = find_subjects(model, recipe), find_tasks(tasks, split)
    scorer = find_scorer(bertscore_model, bertscore_layer) if bertscore_model else None
    try:
        report = evaluate(subjects, asked, lambda line: print(line, file=sys.stderr, flush=True), answers, scorer)
    except RemoteFailure as error:
        _fail(str(error), 1)
    report = {"tasks": str(tasks), "split": split, **report}
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_tables(report)


@app.command()
def doctor(
    recipe: Annotated[Optional[Path], typer.Argument(help="also checks that this machine can hold it")] = None,
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
) -> None:
    """Check this machine: packages, GPUs, memory and disk; says what to do about each fault. Starts nothing."""
    if set and recipe is None:
        from .errors import UserError

        raise UserError("--set: goes with a recipe, such as curlvpr doctor recipes/quickstart.yaml --set rollout.workers=1")
    try:
        from rich.console import Console

        from .doctor import examine, print_findings
        from .recipe import load_recipe

        settings = load_recipe(recipe, set or []) if recipe else None
        with Console(stderr=True).status("importing torch, Ray, DeepSpeed and vLLM in a process of their own …"):
            findings = examine(settings)
    except ImportError as error:
        _fail(f"{error}; a package that curlvpr itself is made of is missing or broken: make setup", 1)
    print_findings(findings)
    sys.exit(any(finding.level == "fault" for finding in findings))


@data.command()
def check(
    tasks: Annotated[Path, typer.Argument(help="a task set: its Parquet file, or the folder that holds tasks.parquet")],
    recipe: Annotated[Optional[Path], typer.Option(help="count tokens with its model, against its budget")] = None,
    html: Annotated[Optional[Path], typer.Option(help="write the summary to this page, with films to look at")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="no films on the page, for patient data")] = False,
) -> None:
    """Report every bad row with number and reason, and what the set holds. The exit code is 2 where a row is bad."""
    from .data_check import check
    from .recipe import load_recipe

    if recipe:
        from actors.environment import quiet_libraries

        quiet_libraries()
    sys.exit(0 if check(tasks, load_recipe(recipe) if recipe else None, html, not no_images) else 2)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart; the run may still go on")],
    no_images: Annotated[bool, typer.Option("--no-images", help="leave the films out, for patient data")] = False,
) -> None:
    """Write RUN/report.html (a run does so at its end): what was learnt, curves, answers before and after."""
    from .report import write_report

    print(write_report(run, no_images))


@importers.command()
def nih(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="Data_Entry_2017.csv, or a Parquet file of labels")],
    out: _Out,
    boxes: Annotated[Optional[Path], typer.Option(help="BBox_List_2017.csv, beside the CSV")] = None,
    seed: _Seed = 0,
) -> None:
    """NIH ChestX-ray14: questions on findings, view, progression and, with boxes, place."""
    from curriculum.importers.nih import import_nih

    _import(import_nih, images=images, labels=labels, boxes=boxes, out=out, seed=seed)


@importers.command()
def chexpert(
    images: _Images,
    labels: Annotated[list[Path], typer.Option(help="train.csv, valid.csv; may be repeated")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """CheXpert: questions on findings, view and progression. Nothing is asked about what its labels leave uncertain."""
    from curriculum.importers.chexpert import import_chexpert

    _import(import_chexpert, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def mimic(
    images: _Images,
    tables: Annotated[Path, typer.Option(help="folder with mimic-cxr-2.0.0-metadata, -split and -chexpert .csv(.gz)")],
    out: _Out,
    reports: Annotated[Optional[Path], typer.Option(help="folder with the reports of MIMIC-CXR, at any depth")] = None,
    seed: _Seed = 0,
) -> None:
    """MIMIC-CXR-JPG: questions on findings, view, progression and, with reports, their sections."""
    from curriculum.importers.mimic import import_mimic

    _import(import_mimic, images=images, tables=tables, reports=reports, out=out, seed=seed)


@importers.command()
def padchest(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, plain or .gz")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """PadChest: questions on its own 190 findings and diagnoses, view and progression."""
    from curriculum.importers.padchest import import_padchest

    _import(import_padchest, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def openi(
    images: _Images,
    reports: Annotated[Path, typer.Option(help="folder with the XML reports, at any depth")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """Open-i (Indiana University): sections of the report, and whether a text belongs to a film."""
    from curriculum.importers.openi import import_openi

    _import(import_openi, images=images, reports=reports, out=out, seed=seed)


@importers.command("vqa-rad")
def vqa_rad(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="VQA_RAD Dataset Public.json")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """VQA-RAD: the radiologists' questions on its chest X-rays."""
    from curriculum.importers.vqa import VQA_RAD, import_vqa

    _import(partial(import_vqa, VQA_RAD), images=images, labels=labels, out=out, seed=seed)


@importers.command()
def slake(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="folder with train.json, validate.json and test.json, or one of them")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """SLAKE: the English questions on its chest X-rays."""
    from curriculum.importers.vqa import SLAKE, import_vqa

    _import(partial(import_vqa, SLAKE), images=images, labels=labels, out=out, seed=seed)


@importers.command()
def easyr1(
    labels: Annotated[Path, typer.Option(help="a .jsonl, .json or .parquet file, or a folder of them")],
    out: _Out,
    images: Annotated[Optional[Path], typer.Option(help="folder with the images, where the rows do not hold them")] = None,
    seed: _Seed = 0,
) -> None:
    """EasyR1's or verl's layout, CX-Mind's gold traces among them: ready questions with options, yes or no, or names."""
    from curriculum.importers.chat import import_chat

    _import(import_chat, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def dicom(
    images: Annotated[Path, typer.Option(help="folder with the DICOM files, at any depth")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns image, labels, patient_id")],
    out: _Out,
    seed: Annotated[int, typer.Option(help="of the questions and splits, and the key of the hashed names")] = 0,
) -> None:
    """Your own DICOM films: made into PNG without anything that names a patient; questions on findings and view."""
    from curriculum.importers.dicom import import_dicom

    _import(import_dicom, images=images, labels=labels, out=out, seed=seed)


def _import(importer: Callable[..., ImportSummary], images: Path | None, out: Path, seed: int,
            **given: Path | list[Path] | None) -> None:
    """Runs an importer, whose parameters are named as the command's options, and prints what it made.

    Raises:
        UserError: a path that is given is not there, or what it holds cannot be used.
    """
    from curriculum.taskset import TaskSetError

    from .errors import UserError

    if images and not images.is_dir():
        raise UserError(f"--images {images}: no such folder")
    for option, paths in given.items():
        for path in paths if isinstance(paths, list) else [paths]:
            if path and not path.exists():
                raise UserError(f"--{option} {path}: no such file or folder")
    try:
        summary = importer(images=images, out=out, seed=seed, **given)
    except TaskSetError as error:
        raise UserError(str(error)) from error
    print("\n".join(summary.lines()))


@reward.command("extract")
def reward_extract(
    file: Annotated[Path, typer.Argument(help='JSON lines, each {"text": "…"}; - for standard input')],
) -> None:
    """Which findings each text asserts, denies or leaves open: a line of JSON with NIH ChestX-ray14 names for each."""
    from .reward_file import extract_lines

    for line in extract_lines(file):
        print(line)


_Responses = Annotated[Path, typer.Argument(help="JSON lines: domain, options, gold, response; - for standard input")]
_Preset = Annotated[Optional[Literal["strict", "paper"]], typer.Option(help="our rules (default), or CX-Mind's numbers")]
_Rules = Annotated[Optional[Path], typer.Option("--recipe", help="score by the rules of this recipe instead")]


@reward.command("score")
def reward_score(file: _Responses, preset: _Preset = None, recipe: _Rules = None) -> None:
    """What each response is worth, and why: a line of JSON for each."""
    from .reward_file import score_lines

    for line in score_lines(file, _rules(preset, recipe)):
        print(line)


@reward.command("explain")
def reward_explain(
    file: _Responses,
    line: Annotated[int, typer.Option(min=1, help="which line of the file")] = 1,
    preset: _Preset = None,
    recipe: _Rules = None,
) -> None:
    """Show one response: each step with its verdict, faults at their place, and the reason for every point."""
    from rich.console import Console

    from .reward_explain import explain
    from .reward_file import nth_row

    config = _rules(preset, recipe)
    explain(nth_row(file, line, config), config, Console(highlight=False))


@reward.command("check")
def reward_check(
    rule: Annotated[str, typer.Argument(help="module:function, the module installed or in the working directory")],
    file: Annotated[Optional[Path], typer.Argument(help="responses as for score; built-in samples where left out")] = None,
    options: Annotated[str, typer.Option(metavar="JSON", help="options of the rule, by name")] = "{}",
) -> None:
    """Try a rule of your own: in [0, 1], the same twice, no exception, and how long a call takes."""
    from .reward_check import check_lines

    for line in check_lines(rule, options, file):
        print(line, flush=True)


def _rules(preset: str | None, recipe: Path | None) -> RewardConfig:
    from rewards.config import RewardConfig

    from .errors import UserError
    from .reward_file import recipe_rules

    if preset and recipe:
        raise UserError("--preset and --recipe: one of them; a recipe has its own rules")
    return recipe_rules(recipe) if recipe else RewardConfig(preset=preset or "strict")


if __name__ == "__main__":
    main()
