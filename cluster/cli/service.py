"""`curlvpr serve` and `curlvpr token`: the service over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    tokens: Annotated[Path, typer.Option(help="who may call: a YAML file with lines from `curlvpr token`")],
    root: Annotated[Path, typer.Option(help="the folder of the runs, which every node must reach")] = Path("runs"),
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="another folder or URI that submitted recipes may use for data, model and checkpoints, or "
            "rules:MODULE for a module whose rules they may use; may be repeated"
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="the model that answers at /v1/chat/completions: a run of the root, whose newest commit is followed, "
            "or a model folder"
        ),
    ] = None,
    policy_replicas: Annotated[
        int, typer.Option(min=1, help="maximum number of engines; more start as chats come")
    ] = 1,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="CPUs for the loop of each run that is started; with 0 it runs on the head")
    ] = 0,
    host: Annotated[str, typer.Option(help="0.0.0.0 admits other machines")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve runs, rewards and a policy over HTTP, on Ray Serve; /docs lists routes with examples."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.service.serving import ServiceArguments, serve_forever

    serve_forever(
        ServiceArguments(
            root=root,
            tokens=tokens,
            allow=tuple(allow or ()),
            policy=policy,
            policy_replicas=policy_replicas,
            driver_cpus=driver_cpus,
        ),
        host,
        port,
    )


def token(
    name: Annotated[str, typer.Argument(help="the owner of the token")],
    role: Annotated[
        Literal["read", "operate"], typer.Option(help="read, or operate: also start, change and stop runs")
    ] = "read",
    cpus: Annotated[float | None, typer.Option(min=0, help="maximum that its runs may hold at once")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="maximum that its runs may hold at once")] = None,
    runs: Annotated[int | None, typer.Option(min=0, help="maximum number of runs in progress at once")] = None,
) -> None:
    """Make a token for the service. It is shown once; the file of tokens gets only its hash."""
    import json
    import sys

    from cluster.service.tokens import Quota, new_token

    text, entry = new_token(name, role, Quota(cpus=cpus, gpus=gpus, runs=runs))
    print("- " + json.dumps(entry.model_dump(exclude_none=True, exclude_defaults=True)))  # JSON is YAML
    print(f"the line above belongs in the tokens file; the token itself, for {name} alone: {text}", file=sys.stderr)
