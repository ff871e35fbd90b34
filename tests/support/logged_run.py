"""A run folder with a log."""

from cluster.record.console import LineDisplay, LoggedDisplay

STEP = {
    "stage": "sft",
    "kind": "sft",
    "stage_step": 3,
    "max_steps": 40,
    "loss": 0.5,
    "tokens_per_s": 900.0,
    "seconds_left": 9.0,
}


def session(run, step=0):
    """The display of a process that holds the run."""
    display = LoggedDisplay(LineDisplay(), run.name)
    display.at = lambda: step
    display.log_to(run)
    return display
