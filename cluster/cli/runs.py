"""Commands that read run folders: list runs, show the log of one, compare several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.control import use_cluster_of
from cluster.errors import UserError


def runs(
    root: Annotated[Path, typer.Argument(help="the folder that holds the run folders")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON list")] = False,
) -> None:
    """List runs, newest first, each with recipe, status, stage, step, newest test scores, last write and duration."""
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
        print(f"{root}: contains no run yet")


def logs(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart")],
    follow: Annotated[bool, typer.Option("--follow", help="continue with new lines until the run ends")] = False,
    worker: Annotated[
        str | None, typer.Option(help="show the log of this worker of a run in progress, such as rollout-0")
    ] = None,
) -> None:
    """Show the log of a run: its messages and steps with their times; or the log of one of its Ray workers."""
    from cluster.record.run_log import follow_log, log_words, read_log
    from cluster.record.run_status import GOING, check_run_folder
    from cluster.terminal import printable

    check_run_folder(run)
    if worker:
        use_cluster_of(run)
        from cluster.control.worker_log import worker_log

        for text in worker_log(run, worker, follow):
            print(printable(text), end="", flush=True)
        return
    if follow:
        use_cluster_of(run)
        from cluster.control.run_actor import read_status

        lines = follow_log(run, lambda: read_status(run)["status"] in GOING)
    else:
        lines = read_log(run)
    for line in lines:
        print(log_words(line), flush=follow)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN", help="run folders; each is compared with the first")],
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("compare.html"),
) -> None:
    """Compare runs on one page: recipes, stages, scores, paired differences to the first, curves, time, ledger."""
    from cluster.outputs import check_file
    from cluster.reporting.compare import compare as compare_runs
    from cluster.reporting.compare import short_table, write_comparison
    from cluster.terminal import print_table, printable

    check_file("--out", out)
    comparison = compare_runs(runs)
    write_comparison(comparison, out)
    print_table(short_table(comparison))
    for note in comparison.notes:
        print(printable(note))
    print(f"page → {out}")


def export(
    run: Annotated[Path, typer.Argument(help="a run folder, such as runs/quickstart; the run may be in progress")],
    step: Annotated[
        int | None, typer.Option(min=0, help="step of the run; where left out, the versions that are kept are listed")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the folder to write; RUN/model-step-N by default")] = None,
) -> None:
    """Write the model folder of a version that the run keeps: one of its newest commits, or of the best of a stage."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.standalone.export_version import export_version, kept_versions, version_words
    from cluster.terminal import printable

    if step is not None:
        print(export_version(run, step, out))
        return
    if out:
        raise UserError("--out: needs --step, such as --step 40")
    lines = [version_words(version) for version in kept_versions(run)]
    for line in lines or [f"{run}: keeps no version so far"]:
        print(printable(line))
