"""What users rely on: commands, recipe keys, routes, metrics, environment variables and the files of a run.

All of it is read from the code. tests/interface.json holds what it was, and tests/test_interface.py compares the
two. After a change that users are meant to see, write the file again and review the difference:

    python -m tests.support.interface RUN_FOLDER

The run folder is one that the fixture `run` of tests/conftest.py makes. `settings` is a list that you edit by hand.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
import typing
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("cluster", "actors", "rewards", "curriculum")
SNAPSHOT = ROOT / "tests" / "interface.json"

GATE = {"measure": "closed_accuracy", "max_steps": 1}
SMALLEST = {
    "name": "smallest",
    "data": {"phantoms": {}},
    "model": {"tiny": {}},
    "stages": [
        {"name": "first", "kind": "sft", "tasks": {"binary": 1}, "gate": GATE},
        {"name": "second", "kind": "grpo", "tasks": {"binary": 1}, "gate": GATE | {"plateau": {}}, "forget": {}},
    ],
    "learner": {"lora": {}},
    "reward": {"rules": {"own": {"order": {"rule": "rewards.own:stage_order", "weight": 0.1}}}},
}
"""Every part of a recipe, with only the keys that must be given."""

ENVIRONMENT_METHODS = {"get", "setdefault", "pop"}


def commands() -> dict[str, Any]:
    """Each command of `curlvpr` with its arguments in order, and its options by name."""
    from typer.main import get_command

    from cluster.cli.app import app

    found: dict[str, Any] = {}

    def visit(command: Any, path: str) -> None:
        if hasattr(command, "list_commands"):
            for name in command.list_commands(None):
                visit(command.get_command(None, name), f"{path} {name}")
            return
        options = {}
        arguments = []
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                arguments.append({"name": parameter.name, **_parameter(parameter)})
            else:
                names = [*parameter.opts, *parameter.secondary_opts]
                options[" / ".join(names)] = _parameter(parameter)
        found[path] = {"arguments": arguments, "options": options}

    visit(get_command(app), "curlvpr")
    return found


def _parameter(parameter: Any) -> dict[str, Any]:
    annotation = parameter.type_descriptor.annotation
    values = [getattr(value, "__name__", str(value)) for value in typing.get_args(annotation)]
    described = {
        "type": getattr(annotation, "__name__", str(annotation)),
        "required": parameter.required,
        "several": parameter.multiple or parameter.nargs != 1,
        "default": json.loads(json.dumps(parameter.default, default=str)),
    }
    limits = {"of": values, "least": parameter.min, "most": parameter.max}
    return described | {name: limit for name, limit in limits.items() if limit not in (None, [])}


def recipe_keys() -> dict[str, Any]:
    """Each key of a recipe, dotted, with its default or the value that SMALLEST gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smallest.yaml"
        path.write_text(yaml.safe_dump(SMALLEST))
        recipe = load_recipe(path)
    return dict(_leaves(recipe.model_dump(mode="json"), ""))


def presets() -> dict[str, dict[str, Any]]:
    """The settings of each algorithm that differ from those of grpo."""
    from actors.algorithm.config import PRESETS, GrpoTraining

    plain = GrpoTraining().model_dump(mode="json")
    found = {}
    for name in PRESETS:
        settings = GrpoTraining(algorithm=name).model_dump(mode="json")
        found[name] = {key: value for key, value in settings.items() if value != plain[key]}
    return found


def routes() -> list[str]:
    """Method and path of each route of the service, with the names of its other parameters.

    A part of a path that has a few known values is written as each of them; any other is {}.
    """
    from cluster.service.app import build

    app = build(Path("/nowhere"), [], policy="policy")
    described = app.openapi()["paths"]
    found = []
    for path, method in _endpoints(app.routes):
        parameters = described.get(path, {}).get(method.lower(), {}).get("parameters", [])
        paths = [path]
        others = []
        for parameter in parameters:
            if parameter["in"] != "path":
                others.append(f"{parameter['in']} {parameter['name']}")
                continue
            values = parameter["schema"].get("enum", ["{}"])
            part = "{" + parameter["name"] + "}"
            paths = [known.replace(part, value) for known in paths for value in values]
        words = f" ({', '.join(others)})" if others else ""
        found += [f"{method} {path}{words}" for path in paths]
    return sorted(found)


def _endpoints(routes: Any) -> list[tuple[str, str]]:
    found = []
    for route in routes:
        methods = getattr(route, "methods", None)
        if methods:
            found += [(route.path, method) for method in methods - {"HEAD"}]
        else:  # FastAPI keeps an included router as one route
            found += _endpoints(route.effective_candidates())
    return found


def prometheus_metrics() -> dict[str, list[str]]:
    """The name of each metric with its labels."""
    from ray.util.metrics import Metric

    from cluster.run.progress.prometheus import RunMetrics

    found: dict[str, list[str]] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Metric):
            found[value.info["name"]] = sorted(value.info["tag_keys"])
        elif isinstance(value, dict):
            for inner in value.values():
                visit(inner)

    visit(vars(RunMetrics("any")))
    return found


def environment() -> dict[str, Any]:
    """The variables that a run sets for its processes, and the names of all that the code reads or sets itself."""
    from actors.runtime.environment import ENVIRONMENT

    used: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                used.update(_variables(node))
    return {"set for every process": dict(ENVIRONMENT), "read or set": sorted(used)}


def _variables(node: ast.AST) -> list[str]:
    """The literal names in `os.environ[…]`, `os.environ.get(…)` and the like, and `… in os.environ`."""
    if isinstance(node, ast.Subscript) and _is_environ(node.value):
        names: list[ast.expr] = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_environ(node.func.value):
        names = node.args[:1] if node.func.attr in ENVIRONMENT_METHODS else []
    elif isinstance(node, ast.Compare) and _is_environ(node.comparators[0]):
        names = [node.left]
    else:
        names = []
    return [n.value for n in names if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def run_folder(path: Path) -> dict[str, Any]:
    """The files of a finished run, and the keys or columns of those that other programs read."""
    import pyarrow.parquet as pq

    files = set()
    for file in path.rglob("*"):
        name = file.relative_to(path)
        of_libraries = name.is_relative_to("tensorboard") or file.name.startswith(".")
        if file.is_file() and not of_libraries:
            files.add(str(Path(*(_numbered(part) for part in name.parts))))
    found: dict[str, Any] = {"files": sorted(files)}
    found["metrics.parquet"] = sorted(pq.read_schema(path / "metrics.parquet").names)
    found["summary.json"] = sorted(_key_paths(json.loads((path / "summary.json").read_text(encoding="utf-8"))))
    events = (path / "timeline.json").read_text(encoding="utf-8").rstrip().removesuffix(",") + "]"  # it has no end
    found["timeline.json"] = sorted(_key_paths(json.loads(events)))
    for name in ("ledger.jsonl", "trajectories.jsonl", "evaluations.jsonl", "log.jsonl"):
        keys: set[str] = set()
        for line in (path / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "verdict" in row:  # what is inside of its parts hangs on the response
                row["verdict"] = dict.fromkeys(row["verdict"])
            keys |= _key_paths(row)
        found[name] = sorted(keys)
    return found


def _numbered(part: str) -> str:
    """The name of a file or folder with its numbers as N."""
    digits = "".join("0" if letter.isdigit() else letter for letter in part)
    while "00" in digits:
        digits = digits.replace("00", "0")
    return digits.replace("0", "N")


def _key_paths(tree: Any, path: str = "") -> set[str]:
    """The dotted keys of a JSON tree; the members of lists share theirs."""
    if isinstance(tree, dict):
        return set().union(*(_key_paths(value, f"{path}.{key}" if path else key) for key, value in tree.items()))
    if isinstance(tree, list) and tree:
        return set().union(*(_key_paths(value, f"{path}[]") for value in tree))
    return {path}


def _leaves(tree: Any, path: str) -> list[tuple[str, Any]]:
    """The dotted path and value of each leaf; empty mappings and lists are leaves."""
    if isinstance(tree, dict) and tree:
        children = list(tree.items())
    elif isinstance(tree, list) and tree:
        children = list(enumerate(tree))
    else:
        return [(path, tree)]
    found = []
    for key, value in children:
        found += _leaves(value, f"{path}.{key}" if path else str(key))
    return found


def load_recipe(path: Path, overrides: Any = ()) -> Any:
    from cluster.config.recipe_file import load_recipe

    return load_recipe(path, overrides)


def interface() -> dict[str, Any]:
    """All but what needs a run."""
    return {
        "commands": commands(),
        "recipe": recipe_keys(),
        "presets": presets(),
        "routes": routes(),
        "prometheus": prometheus_metrics(),
        "environment": environment(),
    }


if __name__ == "__main__":
    old = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.is_file() else {}
    new = {"settings": old.get("settings", []), **interface(), "run folder": run_folder(Path(sys.argv[1]))}
    SNAPSHOT.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
