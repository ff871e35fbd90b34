"""Commands for several runs: which there are, what one of them said, and how they compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from cluster.cli.control import control_of


def runs(
    root: Annotated[Path, typer.Argument(help="the folder that holds the run folders")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON list")] = False,
) -> None:
    """List runs, newest first: recipe, status, stage and step, newest test scores, when it last wrote, how long it took."""
    import json
    from dataclasses import asdict

    from cluster.reporting.runs import list_runs, runs_table
    from cluster.terminal import print_table

    rows = list_runs(root)
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    elif rows:
        print_table(runs_table(rows))
    else:
        print(f"{root}: no run in it yet")


def logs(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart")],
    follow: Annotated[bool, typer.Option("--follow", help="go on with what comes, until the run ends")] = False,
    worker: Annotated[
        Optional[str], typer.Option(help="that of this worker, such as rollout-0, while the run goes on")
    ] = None,
) -> None:
    """Show what a run told: its lines and steps with their times; or the log of one of its Ray workers."""
    from cluster.record.run_log import follow_log, log_words, read_log
    from cluster.record.run_status import GOING, check_run_folder
    from cluster.terminal import printable

    check_run_folder(run)
    if worker:
        control_of(run)  # sets the environment in which Ray is imported
        from cluster.control.worker_log import worker_log

        for text in worker_log(run, worker, follow):
            print(printable(text), end="", flush=True)
        return
    if follow:
        control = control_of(run)
        lines = follow_log(run, lambda: control.told_status(run)["status"] in GOING)
    else:
        lines = read_log(run)
    for line in lines:
        print(log_words(line), flush=follow)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN", help="run folders; all are compared with the first")],
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("compare.html"),
) -> None:
    """Compare runs in one page: recipes, stages, scores, paired differences to the first run, curves, time, ledger."""
    from cluster.reporting import compare as comparing
    from cluster.terminal import print_table, printable

    comparison = comparing.compare(runs)
    comparing.write_comparison(comparison, out)
    print_table(comparing.short_table(comparison))
    for note in comparison.notes:
        print(printable(note))
    print(f"page → {out}")
