"""`curlvpr serve` and `curlvpr token`: the service over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer


def serve(
    tokens: Annotated[Path, typer.Option(help="who may call: a YAML file that `curlvpr token` writes for")],
    root: Annotated[Path, typer.Option(help="the folder of the runs, which every node reaches")] = Path("runs"),
    allow: Annotated[
        Optional[list[str]],
        typer.Option(
            help="a folder or URI, beside the root, that submitted recipes may name for "
            "data, model and checkpoints, or rules:MODULE, whose rules they may "
            "name; may be repeated"
        ),
    ] = None,
    policy: Annotated[
        Optional[str],
        typer.Option(
            help="a run of the root, whose newest commit is followed, or a model folder: it "
            "answers at /v1/chat/completions"
        ),
    ] = None,
    policy_replicas: Annotated[int, typer.Option(min=1, help="at most so many engines, as chats come")] = 1,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="for the loop of each run that is started; with 0 it runs on the head")
    ] = 0,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others than this machine in")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve runs, rewards and a policy over HTTP, on Ray Serve; routes and examples are at /docs."""
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
    name: Annotated[str, typer.Argument(help="whose it is")],
    role: Annotated[
        Literal["read", "operate"], typer.Option(help="read, or also start, change and stop runs")
    ] = "read",
    cpus: Annotated[Optional[float], typer.Option(min=0, help="most that its runs may hold at once")] = None,
    gpus: Annotated[Optional[float], typer.Option(min=0, help="most that its runs may hold at once")] = None,
    runs: Annotated[Optional[int], typer.Option(min=0, help="most that may go on at once")] = None,
) -> None:
    """Make a token for the service. It is shown once; the file of tokens gets only its hash."""
    import json
    import sys

    from cluster.service.tokens import Quota, new_token

    text, kept = new_token(name, role, Quota(cpus=cpus, gpus=gpus, runs=runs))
    print("- " + json.dumps(kept.model_dump(exclude_none=True, exclude_defaults=True)))  # JSON is YAML
    print(f"the line above goes into the tokens' file; the token itself, for {name} alone: {text}", file=sys.stderr)
