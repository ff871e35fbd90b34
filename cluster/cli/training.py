"""Commands that train, test a model, or say what stands in the way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from cluster.cli.control import control_of
from cluster.errors import UserError, fail


def train(
    recipe: Annotated[Path, typer.Argument(help="a recipe, such as recipes/quickstart.yaml")],
    name: Annotated[
        Optional[str], typer.Option(help="of the run folder; the recipe's, with a number, where left out")
    ] = None,
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
) -> None:
    """Train: supervised cold start, closed and open stages, a model folder at the end."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.config.recipe_file import load_recipe
    from cluster.record.run_writer import run_path
    from cluster.run.launch import start

    settings = load_recipe(recipe, set or [])
    sys.exit(start(settings, run_path(settings, name)))


def submit(
    recipe: Annotated[Path, typer.Argument(help="a recipe below the working directory, which the job gets")],
    name: Annotated[
        Optional[str], typer.Option(help="of the run folder; the recipe's, with a number, where left out")
    ] = None,
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
    address: Annotated[
        Optional[str],
        typer.Option(
            help="of the dashboard, such as http://HEAD:8265; RAY_API_SERVER_ADDRESS, or this machine's, where left out"
        ),
    ] = None,
    driver_cpus: Annotated[float, typer.Option(min=0, help="for the run loop; with 0 it runs on the head")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="print what the run says until it ends")] = False,
) -> None:
    """Train on a Ray cluster, as a Ray job."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.control import ray_jobs as jobs

    client, job = jobs.submit(recipe, name, set or [], address, driver_cpus)
    print(f"job {job}; its page is {client.get_address()}/#/jobs/{job}, its end: ray job stop {job}", flush=True)
    if follow:
        sys.exit(jobs.follow(client, job))


def resume(run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart")]) -> None:
    """Go on with a run that is paused, or with one that was stopped, from its newest checkpoint."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    control = control_of(run)
    if control.told_status(run)["status"] == "paused":
        control.ask(run, control.Wish("resume"))
        print(f"{run}: it was paused, and goes on")
        return
    import ray

    from cluster.config.recipe_file import load_recipe
    from cluster.run.launch import resume

    ray.shutdown()  # the connection to where it went on before
    sys.exit(resume(load_recipe(run / "recipe.yaml"), run.absolute()))


def evaluate(
    model: Annotated[list[Path], typer.Option(help="a model folder, such as runs/quickstart/model; may be repeated")],
    tasks: Annotated[Path, typer.Option(help="a task set, such as runs/quickstart/data")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    recipe: Annotated[
        Optional[Path], typer.Option(help="for prompt and engine; by default that of the model's run")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
    answers: Annotated[
        Optional[Path], typer.Option(help="write every answer to this new file, a JSON line each")
    ] = None,
    bertscore_model: Annotated[
        Optional[Path], typer.Option(help="folder of an encoder: BERTScore of texts, too")
    ] = None,
    bertscore_layer: Annotated[Optional[int], typer.Option(help="of that encoder; its last by default")] = None,
) -> None:
    """Let models answer the tasks of a split; later models are compared with the first."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    import json

    from actors.runtime.remote import RemoteFailure
    from cluster.standalone.evaluate import check_new_file, evaluate, find_scorer, find_subjects, find_tasks
    from cluster.standalone.evaluate_tables import print_tables

    if answers:
        check_new_file(answers)
    if bertscore_layer and not bertscore_model:
        raise UserError("--bertscore-layer needs --bertscore-model")
    subjects, asked = find_subjects(model, recipe), find_tasks(tasks, split)
    scorer = find_scorer(bertscore_model, bertscore_layer) if bertscore_model else None
    try:
        report = evaluate(subjects, asked, lambda line: print(line, file=sys.stderr, flush=True), answers, scorer)
    except RemoteFailure as error:
        fail(str(error), 1)
    report = {"tasks": str(tasks), "split": split, **report}
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_tables(report)


def smoke(
    gpu: Annotated[bool, typer.Option("--gpu", help="on this machine's GPUs: two try all of it")] = False,
) -> None:
    """Try what hangs on the processor: attention, packing, engine, short runs. The exit code is 1 where one failed."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.standalone.smoke import smoke

    sys.exit(0 if smoke(gpu) else 1)


def doctor(
    recipe: Annotated[Optional[Path], typer.Argument(help="also checks that this machine can hold it")] = None,
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
) -> None:
    """Check this machine: packages, GPUs, memory and disk; says what to do about each fault. Starts nothing."""
    if set and recipe is None:
        raise UserError(
            "--set: goes with a recipe, such as curlvpr doctor recipes/quickstart.yaml --set rollout.workers=1"
        )
    try:
        from rich.console import Console

        from cluster.config.recipe_file import load_recipe
        from cluster.planning.doctor import examine, print_findings

        settings = load_recipe(recipe, set or []) if recipe else None
        with Console(stderr=True).status("importing torch, Ray, DeepSpeed and vLLM in a process of their own …"):
            findings = examine(settings)
    except ImportError as error:
        fail(f"{error}; a package that curlvpr itself is made of is missing or broken: make setup", 1)
    print_findings(findings)
    sys.exit(any(finding.level == "fault" for finding in findings))


def plan(
    recipe: Annotated[Path, typer.Argument(help="a recipe; its model's folder needs no more than config.json")],
    set: Annotated[Optional[list[str]], typer.Option(metavar="a.b=c", help="override a key; may be repeated")] = None,
    cluster: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NODESxGPUSxGIB",
            help="describe nodes, such as 2x8x80,cpus=96,ram=1024 or 4x0,cpus=32; may be repeated. "
            "By default the cluster of RAY_ADDRESS, else this machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
) -> None:
    """Say what a run will ask for, whether a cluster can hold it, and what to change if not. Starts no worker."""
    import json

    from cluster.config.recipe_file import load_recipe
    from cluster.planning.model_shape import shape_of
    from cluster.planning.nodes import find_nodes
    from cluster.planning.plan import make_plan
    from cluster.planning.plan_advice import advise
    from cluster.planning.plan_tables import print_plan, to_dict

    settings = load_recipe(recipe, set or [])
    made = make_plan(settings, shape_of(settings.model, settings.learner), *find_nodes(cluster or []))
    advice = None if made.fits else advise(made)
    if as_json:
        print(json.dumps(to_dict(made, advice), indent=2, ensure_ascii=False))
    else:
        print_plan(made, advice)
    sys.exit(0 if made.fits else 1)


def report(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart; the run may still go on")],
    no_images: Annotated[bool, typer.Option("--no-images", help="leave the films out, for patient data")] = False,
) -> None:
    """Write RUN/report.html (a run does so at its end): what was learnt, curves, answers before and after."""
    from cluster.reporting.report import write_report

    print(write_report(run, no_images))
