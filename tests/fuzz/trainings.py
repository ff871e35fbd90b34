"""Visits of `train` and `resume`, which come to the last door before the cluster, and find it closed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import yaml
from hypothesis import strategies as st

from cluster.errors import UserError
from tests.fuzz.commands import Visits, recipe_bytes
from tests.fuzz.corpus import JSON_PIECES, YAML_PIECES, Corpus, recipes
from tests.fuzz.door import Visit, visit_and_judge
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree
from tests.fuzz.run_folders import SUMMARY

NAMES = ["", ".", "..", "a/b", "/", "a\0", "\udcff", "x" * 300, " ", "-", "one", "recipe.yaml", "\x1b[31m", "~"]
OWN_FILES = tuple(f"one/{name}" for name in ("owner.lock", "owner.json", "log.jsonl", "recipe.yaml"))


def trainings(corpus: Corpus) -> Visits:
    """Recipes with few films, so that all that is prepared before the workers start is prepared."""
    full = recipes()[-1]
    bare = copy.deepcopy(full)
    bare["reward"].pop("rules")
    bare["stages"][0].pop("training")
    odd = odd_tree([full, bare]).map(recipe_bytes) | st.just(yaml.safe_dump(full).encode())
    links = {"data": corpus.task_set, "model": corpus.model}
    words = st.one_of(st.just(()), st.sampled_from(NAMES).map(lambda name: ("--name", name)))
    return st.builds(
        lambda content, more: Visit(("train", "recipe.yaml", *more), {"recipe.yaml": content}, links), odd, words
    )


def resumes(corpus: Corpus) -> Visits:
    """Run folders that stopped after a commit; the summary, the recipe or the commit's manifest is spoilt."""
    smoke = next(tree for tree in recipes() if tree["name"] == "smoke")
    summary = SUMMARY | {"status": "stopped"}
    manifest = {"state": {"step": 3}, "sha256": {"policy.safetensors": "0" * 64}}
    right = {
        "one/recipe.yaml": yaml.safe_dump(smoke).encode(),
        "one/summary.json": json.dumps(summary).encode(),
        "one/checkpoints/step-0000003/manifest.json": json.dumps(manifest).encode(),
    }
    spoilt = [
        odd_bytes([right["one/recipe.yaml"]], YAML_PIECES).map(lambda content: {"one/recipe.yaml": content}),
        odd_tree([smoke]).map(recipe_bytes).map(lambda content: {"one/recipe.yaml": content}),
    ]
    for name, tree in (("one/summary.json", summary), ("one/checkpoints/step-0000003/manifest.json", manifest)):
        contents = odd_tree([tree], JSON_VALUES).map(lambda tree: json.dumps(tree).encode())
        contents |= odd_bytes([right[name]], JSON_PIECES)
        spoilt.append(contents.map(lambda content, name=name: {name: content}))
    return st.one_of(spoilt).map(lambda files: Visit(("resume", "one"), right | files, reports=OWN_FILES))


def receive_before_workers(visit: Visit) -> int:
    """As `visit_and_judge`; a run that is right is refused where it would wait for room on the cluster."""
    with (
        patch("cluster.run.launch.ray_cluster", lambda *_: nullcontext("")),
        patch("cluster.run.launch.worker_bundles", lambda _: []),
        patch("cluster.run.launch.Control", lambda *_: nullcontext()),
        patch("cluster.run.launch.wait_for_slot", _closed),
    ):
        return visit_and_judge(visit)


def receive_before_ray(visit: Visit) -> int:
    """As `visit_and_judge`; a run that is right is refused where it would join a cluster."""
    with patch("cluster.run.launch.ray_cluster", _closed), patch("ray.shutdown"):  # other tests have a cluster here
        return visit_and_judge(visit)


@contextmanager
def _closed(*_: object) -> Iterator[str]:
    raise UserError("no cluster is here")
    yield ""
