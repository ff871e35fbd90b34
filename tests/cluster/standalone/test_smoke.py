"""`curlvpr smoke`: that its checks pass where all is well, and fail where something is not."""

import pytest
import torch

from actors.model import attention
from cluster.cli.app import main
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import parse_nodes
from cluster.planning.plan import make_plan
from cluster.standalone import smoke_runs
from cluster.standalone.smoke import ON_CPU, ON_GPUS, run_checks
from cluster.standalone.smoke_context import Check, Context
from cluster.standalone.smoke_runs import smoke_recipe


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return Context(tmp_path_factory.mktemp("smoke"), gpu=False, dtype="float32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["curlvpr", "smoke", "--gpu"])
    with pytest.raises(SystemExit) as exit:
        main()
    told = capsys.readouterr()
    assert (
        exit.value.code == 2 and not told.out and len(told.err.strip().splitlines()) == 1 and "sees no GPU" in told.err
    )


def test_attention_and_packing_pass_in_single_and_half_precision(context):
    half = Context(context.folder / "half", gpu=False, dtype="bfloat16")
    assert run_checks(ON_CPU[:2], context, 0) and run_checks(ON_CPU[:2], half, 0)


def test_attention_beyond_the_borders_fails(context, monkeypatch, capsys):
    whole = attention.scaled_dot_product_attention
    monkeypatch.setattr(
        attention, "scaled_dot_product_attention", lambda *parts, is_causal=False, **more: whole(*parts, **more)
    )
    assert not run_checks(ON_CPU[:2], context, 0)
    told = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("[")]  # what libraries say
    assert [line.split(":")[0] for line in told] == [f"failed    {check.name}" for check in ON_CPU[:2]] + [
        "0 ok, 2 failed"
    ]


def test_what_needs_more_gpus_is_left_out_and_what_breaks_is_told(context, capsys):
    def broken(_):
        raise OSError("no disk")

    assert run_checks([Check("two", 2, broken)], context, 1) and not run_checks([Check("disk", 0, broken)], context, 1)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("left out  two: it needs 2 GPUs, here is 1") and told[1] == "0 ok, 0 failed, 1 left out"
    assert told[2].startswith("failed    disk: OSError: no disk") and told[3] == "0 ok, 1 failed"


def test_every_run_on_gpus_has_a_recipe_that_fits_the_gpus_it_asks_for(context, monkeypatch):
    """No GPU is here to run them."""
    on_gpu = Context(context.folder / "gpus", gpu=True, dtype="bfloat16")
    recipes = []

    def planned(name, context, rollout=(), learner=(), model=(), transport="auto"):
        recipes.append(smoke_recipe(name, context, dict(rollout), dict(learner), dict(model), transport))

    monkeypatch.setattr(smoke_runs, "whole_run", planned)
    runs = [check for check in ON_GPUS if check.name.startswith("whole run")]
    for check in runs:
        check.run(on_gpu)
        plan = make_plan(
            recipes[-1],
            shape_of(recipes[-1].model, recipes[-1].learner),
            "",
            parse_nodes([f"1x{check.gpus}x24,cpus=16"]),
        )
        assert plan.fits, [fault.text for fault in plan.faults]
    assert len({recipe.name for recipe in recipes}) == len(runs) == 7


@pytest.mark.slow  # other tests start engines and whole runs, too
def test_engine_and_whole_run_pass(ray_session, context, capsys):
    assert run_checks(ON_CPU[2:], context, 0), capsys.readouterr().out
