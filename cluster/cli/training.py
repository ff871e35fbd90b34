"""Commands that train, evaluate a model, or check what a run needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.control import use_cluster_of
from cluster.errors import UserError, fail

RunName = Annotated[
    str | None, typer.Option(help="name of the run folder; by default the recipe's name, with a number if taken")
]
Overrides = Annotated[list[str] | None, typer.Option(metavar="a.b=c", help="override a recipe key; may be repeated")]


def train(
    recipe: Annotated[Path, typer.Argument(help="a recipe, such as recipes/quickstart.yaml")],
    name: RunName = None,
    set: Overrides = None,
) -> None:
    """Train through all stages of a recipe, from the supervised cold start to a model folder at the end.

    Ctrl-C ends the run, SIGTERM after its step; a second one at once. Exit codes: 0 done or stopped as asked, 1 failed,
    2 bad input, 128 and a signal's number (130: Ctrl-C).
    """
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.config.recipe_file import load_recipe
    from cluster.record.run_writer import run_path
    from cluster.run.launch import start

    settings = load_recipe(recipe, set or [])
    sys.exit(start(settings, run_path(settings, name)))


def submit(
    recipe: Annotated[Path, typer.Argument(help="a recipe below the working directory, which is sent with the job")],
    name: RunName = None,
    set: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="the dashboard, such as http://HEAD:8265; by default RAY_API_SERVER_ADDRESS, or this machine's"
        ),
    ] = None,
    driver_cpus: Annotated[float, typer.Option(min=0, help="CPUs for the run loop; with 0 it runs on the head")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="print the output of the run until it ends")] = False,
) -> None:
    """Train on a Ray cluster, as a Ray job."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.control import ray_jobs

    client, job = ray_jobs.submit(recipe, name, set or [], address, driver_cpus)
    print(f"job {job}; its page: {client.get_address()}/#/jobs/{job}; to stop it: ray job stop {job}", flush=True)
    if follow:
        sys.exit(ray_jobs.follow(client, job))


def resume(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart")],
    take_over: Annotated[
        bool, typer.Option("--take-over", help="do not wait for an owner on another machine that is gone")
    ] = False,
) -> None:
    """Continue a paused run, or one that has stopped or was killed, from its newest checkpoint.

    Signals and exit codes are those of train.
    """
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest, read_status, send_request

    if read_status(run)["status"] == "paused":
        send_request(run, ControlRequest("resume"))
        print(f"{run}: was paused, and continues")
        return
    import ray

    from cluster.config.recipe_file import load_recipe
    from cluster.run.launch import resume as resume_run

    ray.shutdown()  # the connection to the cluster that had the run before
    sys.exit(resume_run(load_recipe(run / "recipe.yaml"), run.absolute(), take_over))


def evaluate(
    model: Annotated[list[Path], typer.Option(help="a model folder, such as runs/quickstart/model; may be repeated")],
    tasks: Annotated[Path, typer.Option(help="a task set, such as runs/quickstart/data")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    recipe: Annotated[
        Path | None, typer.Option(help="prompt and engine settings; by default those of the model's run")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
    answers: Annotated[Path | None, typer.Option(help="write every answer to this new file, as JSON lines")] = None,
    bertscore_model: Annotated[
        Path | None, typer.Option(help="folder of an encoder; adds the BERTScore of texts")
    ] = None,
    bertscore_layer: Annotated[int | None, typer.Option(help="layer of that encoder; its last by default")] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="also sample so many responses to each task, for pass@k, maj@k and the marks"),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="of the samples; by default that of the model's run")
    ] = None,
) -> None:
    """Let models answer the tasks of a split, and compare each with the first model."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    import json

    from actors.runtime.remote import RemoteFailure
    from cluster.standalone.evaluate import Sampling, check_new_file, find_scorer, find_subjects, find_tasks
    from cluster.standalone.evaluate import evaluate as evaluate_models
    from cluster.standalone.evaluate_tables import print_tables

    if answers:
        check_new_file(answers)
    if bertscore_layer and not bertscore_model:
        raise UserError("--bertscore-layer needs --bertscore-model")
    if temperature and not samples:
        raise UserError("--temperature: is of sampled responses, and needs --samples, such as --samples 8")
    subjects = find_subjects(model, recipe)
    evaluation_set = find_tasks(tasks, split)
    scorer = find_scorer(bertscore_model, bertscore_layer) if bertscore_model else None

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        sampling = Sampling(samples, temperature) if samples else None
        result = evaluate_models(subjects, evaluation_set, log, answers, scorer, sampling)
    except RemoteFailure as error:
        fail(str(error), 1)
    result = {"tasks": str(tasks), "split": split, **result}
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        print_tables(result)


def smoke(
    gpu: Annotated[bool, typer.Option("--gpu", help="use this machine's GPUs; all checks need two")] = False,
) -> None:
    """Check what depends on the hardware: attention, packing, engine, short runs. Exits with 1 if a check fails."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.standalone.smoke import smoke as run_checks

    sys.exit(0 if run_checks(gpu) else 1)


def doctor(
    recipe: Annotated[Path | None, typer.Argument(help="also check whether this machine can run it")] = None,
    set: Overrides = None,
) -> None:
    """Check this machine: packages, GPUs, memory and disk; print a remedy for each fault. Starts nothing."""
    if set and recipe is None:
        raise UserError("--set: needs a recipe, such as curlvpr doctor recipes/quickstart.yaml --set rollout.workers=1")
    try:
        from rich.console import Console

        from cluster.config.recipe_file import load_recipe
        from cluster.planning.doctor import examine, print_findings

        settings = load_recipe(recipe, set or []) if recipe else None
        with Console(stderr=True).status("importing torch, Ray, DeepSpeed and vLLM in a separate process …"):
            findings = examine(settings)
    except ImportError as error:
        fail(f"{error}; a package that curlvpr needs is missing or broken: make setup", 1)
    print_findings(findings)
    sys.exit(any(finding.level == "fault" for finding in findings))


def plan(
    recipe: Annotated[Path, typer.Argument(help="a recipe; its model folder may hold config.json alone")],
    set: Overrides = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODESxGPUSxGIB",
            help="describe nodes, such as 2x8x80,gpu=H100,cpus=96,ram=1024 or 4x0,cpus=32; may be repeated. "
            "By default the cluster of RAY_ADDRESS, else this machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
) -> None:
    """Show what a run will need, whether a cluster can hold it, and what to change if not. Starts no worker."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    import json
    from dataclasses import replace

    from cluster.config.recipe_file import load_recipe
    from cluster.planning.model_check import remarks_for_plan
    from cluster.planning.model_shape import shape_of
    from cluster.planning.nodes import find_nodes
    from cluster.planning.plan import make_plan
    from cluster.planning.plan_advice import advise
    from cluster.planning.plan_tables import print_plan, to_dict
    from cluster.planning.speed import estimate_speed

    settings = load_recipe(recipe, set or [])
    remarks = remarks_for_plan(settings)
    result = make_plan(settings, shape_of(settings.model, settings.learner), *find_nodes(cluster or []))
    speed = estimate_speed(result)
    result = replace(result, notes=[*remarks, *result.notes, *speed.notes()])
    advice = None if result.fits else advise(result)
    if as_json:
        print(json.dumps(to_dict(result, advice) | {"speed": speed.to_dict()}, indent=2, ensure_ascii=False))
    else:
        print_plan(result, advice)
    sys.exit(0 if result.fits else 1)


def report(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart; the run may be in progress")],
    no_images: Annotated[
        bool, typer.Option("--no-images", help="leave the films out, for example if they show patients")
    ] = False,
) -> None:
    """Write RUN/report.html, as every run does at its end: what was learnt, curves, answers before and after."""
    from cluster.reporting.report import write_report

    print(write_report(run, no_images))
