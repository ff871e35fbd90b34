"""The command line. Heavy imports happen inside the commands, so that help and typing errors are answered at once."""

from __future__ import annotations

import sys

import typer

from actors.runtime.files import is_no_space, write_fault
from cluster.cli import control, runs, service, training
from cluster.cli.data import data
from cluster.cli.reward import reward
from cluster.errors import UserError, error_line, fail, print_any_text, tell
from cluster.outputs import mute_stdout
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
    control.profile,
    control.stop,
    runs.runs,
    runs.logs,
    runs.compare,
    runs.export,
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
    print_any_text()
    with Signals() as signals:
        try:
            _run()
        except BaseException:
            if not signals.ending:
                raise
        if signals.ending:
            if not signals.told:
                tell(f"curlvpr: ended by {signals.cause}")
            signals.exit(signals.code)


def _run() -> None:
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a fault of standard output can still be told
    except UserError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # whoever read the output has enough of it, as `head` has
        mute_stdout()
        sys.exit(1)
    except OSError as error:
        mute_stdout()
        fail(_file_fault(error), 2)
    except Exception as error:
        if "ray" in sys.modules:
            from actors.runtime.remote import ray_failure

            if line := ray_failure(error):
                fail(line, 1)
        raise


def _file_fault(error: OSError) -> str:
    """An error of a file that a command did not expect. One that names no file is of the output, if a disk is full."""
    if error.filename is not None:
        return write_fault(error, error.filename)
    return "no space left where the output goes" if is_no_space(error) else error_line(error)
