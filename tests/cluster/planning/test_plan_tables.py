"""`curlvpr plan`: tables for people, JSON for programs."""

import json

from tests.support.plans import PARAMETERS, RECIPES, WHOLE


def test_the_command_says_what_fits_here(plan_command):
    code, out, _ = plan_command(RECIPES / "smoke.yaml")
    assert code == 0 and out.splitlines()[-1] == "smoke fits into this machine"
    assert all(word in out for word in ("rollout", "learner", "reward", "weight store", "KV cache"))


def test_the_command_says_what_does_not_fit_and_what_would(plan_command, seven_billion):
    arguments = (
        RECIPES / "cx_mind_7b.yaml",
        "--set",
        f"model.path={seven_billion}",
        "--set",
        "rollout.max_model_tokens=8192",
        "--cluster",
        "2x8x141,cpus=96,ram=1024",
    )
    assert plan_command(*arguments)[0] == 0
    arguments += "--set", WHOLE
    code, out, _ = plan_command(*arguments)
    assert (
        code == 1
        and "it would with --set learner.zero_stage=3 --set learner.micro_batch_tokens=8192" in out.splitlines()[-1]
    )
    code, out, _ = plan_command(*arguments, "--json")
    told = json.loads(out)
    assert code == 1 and told["advice"]["settings"] == {"learner.zero_stage": 3, "learner.micro_batch_tokens": 8192}
    assert told["model"]["parameters"] == PARAMETERS and told["model"]["kv_bytes_per_token"] == 57_344
    assert {worker["kind"]: worker["workers"] for worker in told["workers"]} == {
        "rollout": 4,
        "learner": 4,
        "reward": 4,
    }
    code, out, _ = plan_command(
        *arguments, "--set", "learner.zero_stage=3", "--set", "learner.micro_batch_tokens=8192", "--json"
    )
    assert code == 0 and json.loads(out)["advice"] is None
