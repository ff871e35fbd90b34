"""Passwords and keys never get into a recipe, and errors do not repeat them."""

import json
import re
from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


@pytest.mark.parametrize(
    "setting, words",
    [
        (
            "checkpoint.storage=s3://me:hunter2hunter2@bucket/runs",
            "checkpoint.storage: looks like a URI with a password",
        ),
        (
            "checkpoint.storage=s3://bucket/runs?secret_key=hunter2hunter2",
            "checkpoint.storage: looks like a URI with a key",
        ),
        ("name=AKIA" + "HUNTER2HUNTER2XX", "name: looks like an AWS key"),
        (
            "reward.rules.own.judge.options.api_key=hunter2hunter2",
            "reward.rules.own.judge.options.api_key: looks like a password or key",
        ),
        ("prompt.system=use hf_" + "hunter2hunter2hunter2hunter2", "prompt.system: looks like an API key"),
        ("aws_secret_access_key=hunter2hunter2", "aws_secret_access_key: looks like a password or key"),
        ("trackers=[https://me:hunter2hunter2@host]", "trackers.0: looks like a URI with a password"),
    ],
)
def test_a_password_or_key_is_refused_and_not_repeated(setting, words):
    with pytest.raises(UserError, match=re.escape(words)) as refusal:
        load_recipe(SMOKE, [setting])
    assert "environment of the cluster's nodes" in str(refusal.value)
    assert "hunter2" not in str(refusal.value).lower() and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "storage",
    [
        "s3://bucket/runs?region=here&endpoint_override=127.0.0.1:9000",
        "gs://bucket/a@b/c",
        "abfs://container@account.dfs.core.windows.net/runs",
    ],
)
def test_a_uri_without_password_is_none(storage):
    assert load_recipe(SMOKE, [f"checkpoint.storage={storage}"]).checkpoint.storage == storage


def test_the_name_of_a_variable_that_holds_a_key_is_no_key():
    rule = {"rule": "rewards.judge:Judge", "weight": 0.1, "options": {"api_key_env": "JUDGE_API_KEY"}}
    recipe = load_recipe(SMOKE, [f"reward.rules.own={json.dumps({'judge': rule})}"])
    assert recipe.reward.rules.own["judge"].options == {"api_key_env": "JUDGE_API_KEY"}
    rule["options"] = {"api_key_env": "hunter2hunter2"}
    with pytest.raises(UserError, match="api_key_env: looks like a password or key"):
        load_recipe(SMOKE, [f"reward.rules.own={json.dumps({'judge': rule})}"])


def test_a_file_of_aliases_that_would_never_be_visited_to_its_end_is_refused(tmp_path):
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "recipe.yaml").write_text("\n".join(["a0: &a0 [x]", *levels]))
    with pytest.raises(UserError, match="more than 100,000 values; no recipe needs so many"):
        load_recipe(tmp_path / "recipe.yaml")
