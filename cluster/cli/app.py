"""The command line. Heavy imports happen inside the commands, so that help and typing errors are answered at once."""

from __future__ import annotations

import sys

import typer

from cluster.cli import control, runs, service, training
from cluster.cli.data import data
from cluster.cli.reward import reward
from cluster.errors import UserError, fail
from cluster.signals import Signals

app = typer.Typer(
    help="Curriculum reinforcement learning with verifiable process rewards for chest X-ray models, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    training.train,
    training.submit,
    training.resume,
    control.status,
    control.scale,
    control.pause,
    control.checkpoint,
    control.stop,
    runs.runs,
    runs.logs,
    runs.compare,
    training.plan,
    training.doctor,
    training.smoke,
    training.report,
    service.serve,
    service.token,
):
    app.command()(command)
app.command("eval")(training.evaluate)
app.add_typer(data, name="data")
app.add_typer(reward, name="reward")


def main() -> None:
    """The entry point. Expected faults become one line and an exit code: 2 for bad input, 1 for a run that failed.

    A process that a signal ends has the exit code 128 and the signal's number.
    """
    with Signals() as signals:
        try:
            _run()
        except BaseException:
            if not signals.ending:
                raise
        if signals.ending:
            if not signals.told:
                print(f"curlvpr: ended by {signals.cause}", file=sys.stderr)
            signals.exit(signals.code)


def _run() -> None:
    try:
        app()
    except UserError as error:
        fail(str(error), 2)
    except Exception as error:
        if "ray" in sys.modules:
            from actors.runtime.remote import ray_failure

            if line := ray_failure(error):
                fail(line, 1)
        raise
