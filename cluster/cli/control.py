"""Commands for a run that goes on: how it stands, and what it is asked for."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Optional

import typer

from cluster.errors import UserError

_Run = Annotated[Path, typer.Argument(help="the folder of a run that goes on, such as runs/quickstart")]


def status(run: _Run, as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """How a run stands: stage, step, version, workers by state, ledger, throughput, staleness."""
    import json
    import sys
    import time
    from contextlib import redirect_stdout

    with redirect_stdout(sys.stderr):  # Ray prints there what its raylets warn of, from a thread of its own
        told = control_of(run).told_status(run)
    if as_json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        if name == "workers":
            value = "; ".join(
                f"{kind}: {', '.join(f'{n} {state}' for state, n in states.items())}" for kind, states in value.items()
            )
        elif name == "told_at":
            name, value = "told", f"{time.time() - value:.0f} s ago"
        elif isinstance(value, dict):
            value = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items())
        elif isinstance(value, float):
            value = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        print(f"{name.replace('_', ' '):>14}  {value}")


def scale(
    run: _Run,
    rollout: Annotated[
        Optional[int], typer.Option(min=1, help="how many rollout workers from the next step on")
    ] = None,
    reward: Annotated[Optional[int], typer.Option(min=1, help="how many reward workers from the next step on")] = None,
) -> None:
    """Change the number of workers while the run goes on; who is too many finishes its work first."""
    if rollout is None and reward is None:
        raise UserError("scale: give --rollout, --reward or both")
    _ask(run, "scale", rollout, reward)


def pause(run: _Run) -> None:
    """Let a run wait after its present step; `curlvpr resume` lets it go on."""
    _ask(run, "pause")


def checkpoint(run: _Run) -> None:
    """Let a run commit a checkpoint after its present step."""
    _ask(run, "checkpoint")


def stop(run: _Run) -> None:
    """Let a run finish its present step, commit and end; `curlvpr resume` goes on with it later."""
    _ask(run, "stop")


def control_of(run: Path) -> ModuleType:
    """The module that talks to runs. Ray is imported with it: with the environment that the run's cluster wants."""
    from cluster.control.run_address import find_address

    find_address(run)
    from cluster.control import run_actor as control

    return control


def _ask(run: Path, what: str, *counts: Optional[int]) -> None:
    control = control_of(run)
    control.send_request(run, control.ControlRequest(what, *counts))
    print(f"{run}: asked; it is done after the step that the run is at")
