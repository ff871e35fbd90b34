"""The name of a worker in the dashboard's list of processes and in `ps`: role, rank and weight version."""

from __future__ import annotations


def set_title(title: str) -> None:
    """Names this actor's process.

    Ray titles a process after its actor's class and has no public way to change that later. So the class is renamed.
    """
    from ray._private.worker import global_worker

    for actor in global_worker.actors.values():
        type(actor).__name__ = title
