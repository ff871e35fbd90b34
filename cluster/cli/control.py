"""Commands for a run in progress: its status, and requests to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.learner.profiler import MAX_STEPS
from cluster.errors import UserError

if TYPE_CHECKING:
    from cluster.control.run_actor import ControlRequest

_Run = Annotated[Path, typer.Argument(help="the folder of a run in progress, such as runs/quickstart")]


def status(run: _Run, as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """Show the status of a run: stage, step, version, workers by state, ledger, throughput, staleness."""
    import json
    import sys
    from contextlib import redirect_stdout

    use_cluster_of(run)
    from cluster.control.run_actor import read_status

    with redirect_stdout(sys.stderr):  # a thread of Ray prints the warnings of its raylets
        values = read_status(run)
    if as_json:
        print(json.dumps(values))
        return
    for name, value in values.items():
        label = "reported" if name == "told_at" else name.replace("_", " ")
        print(f"{label:>14}  {_value_text(name, value)}")


def scale(
    run: _Run,
    rollout: Annotated[int | None, typer.Option(min=1, help="rollout workers from the next step on")] = None,
    reward: Annotated[int | None, typer.Option(min=1, help="reward workers from the next step on")] = None,
) -> None:
    """Change the number of workers of a run in progress; surplus workers finish their share first."""
    if rollout is None and reward is None:
        raise UserError("scale: give --rollout, --reward or both")
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest

    _request(run, ControlRequest("scale", rollout, reward))


def pause(run: _Run) -> None:
    """Pause a run after the current step; `curlvpr resume` continues it."""
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest

    _request(run, ControlRequest("pause"))


def checkpoint(run: _Run) -> None:
    """Make a run commit a checkpoint after the current step."""
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest

    _request(run, ControlRequest("checkpoint"))


def profile(
    run: _Run,
    steps: Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="how many, from the next one on")] = 3,
) -> None:
    """Record what the learner's ranks compute, with torch's profiler: a trace of each, and its costliest operators."""
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest

    _request(run, ControlRequest("profile", steps=steps))
    print(f"the traces come to {run / 'profile'}, and the costliest operators to operators.txt beside them")


def stop(run: _Run) -> None:
    """Make a run finish the current step, commit and end; `curlvpr resume` continues it later."""
    use_cluster_of(run)
    from cluster.control.run_actor import ControlRequest

    _request(run, ControlRequest("stop"))


def use_cluster_of(run: Path) -> None:
    """Sets the environment that Ray needs for the run's cluster. Ray reads it on import, so call this before."""
    from cluster.control.run_address import find_address

    find_address(run)


def _request(run: Path, request: ControlRequest) -> None:
    from cluster.control.run_actor import send_request

    send_request(run, request)
    print(f"{run}: {request.action} requested; takes effect after the current step")


def _value_text(name: str, value: Any) -> str:
    import time

    if name == "told_at":
        return f"{time.time() - value:.0f} s ago"
    if name == "workers":
        kinds = []
        for kind, states in value.items():
            counts = ", ".join(f"{count} {state}" for state, count in states.items())
            kinds.append(f"{kind}: {counts}")
        return "; ".join(kinds)
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {number}" for key, number in value.items())
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return str(value)
