"""`curlvpr plan`: what a run asks for, whether nodes can hold it, and advice that makes it fit."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from cluster.cli.app import main
from cluster.config.recipe import ModelConfig
from cluster.config.recipe_file import load_recipe, with_settings
from cluster.errors import UserError
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import Node, find_nodes, nodes_of, parse_nodes
from cluster.planning.placement import WorkerRequest, place
from cluster.planning.plan import make_plan
from cluster.planning.plan_advice import advise
from cluster.planning.plan_tables import to_dict
from cluster.planning.worker_memory import GIB, activations, rank_state, rollout_memory

RECIPES = Path(__file__).parents[3] / "recipes"
PARAMETERS = (
    8_292_166_656  # of Qwen2.5-VL-7B-Instruct: half of total_size, 16,584,333,312, in its model.safetensors.index.json
)
TEXT = dict(
    hidden_size=3584,
    num_hidden_layers=28,
    intermediate_size=18944,
    num_attention_heads=28,
    num_key_value_heads=4,
    vocab_size=152064,
)
VISION = dict(
    depth=32,
    hidden_size=1280,
    intermediate_size=3420,
    num_heads=16,
    out_hidden_size=3584,
    patch_size=14,
    spatial_merge_size=2,
    temporal_patch_size=2,
    in_chans=3,
)
WHOLE = "learner.gradient_checkpointing=false"
MODEL = dict(model_type="qwen2_5_vl", vision_config=VISION, tie_word_embeddings=False)


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory):
    """The folder of Qwen2.5-VL-7B without its weights; the text's sizes are flat, as published."""
    folder = tmp_path_factory.mktemp("big")
    (folder / "config.json").write_text(json.dumps(TEXT | MODEL))
    return folder


@pytest.fixture
def seven(seven_billion):
    """A plan of cx_mind_7b with settings, on described nodes; without recomputation, where nothing else is said."""

    def plan(cluster, *settings):
        recipe = load_recipe(RECIPES / "cx_mind_7b.yaml", [f"model.path={seven_billion}", WHOLE, *settings])
        return make_plan(recipe, shape_of(recipe.model, recipe.learner), cluster, parse_nodes([cluster]))

    return plan


def quickstart(nodes, *settings):
    recipe = load_recipe(RECIPES / "quickstart.yaml", settings)
    return make_plan(recipe, shape_of(recipe.model), "a test", nodes)


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_the_sizes_of_qwen2_5_vl_7b(seven_billion, tmp_path):
    shape = shape_of(ModelConfig(path=seven_billion))
    assert shape.parameters == PARAMETERS and shape.parameters * 2 == pytest.approx(16.6e9, rel=0.002)
    assert shape.kv_bytes_per_token(2) == 2 * 28 * 4 * 128 * 2 == 57_344
    assert [shape.kv_bytes_per_token(2, shards) for shards in (2, 4, 8)] == [
        28_672,
        14_336,
        14_336,
    ]  # a head is never split
    nested = {"text_config": TEXT, **MODEL}  # as transformers 5 writes it
    (tmp_path / "config.json").write_text(json.dumps(nested))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"max_pixels": 12_845_056}))
    other = shape_of(ModelConfig(path=tmp_path))
    assert other.parameters == PARAMETERS and other.image_tokens == 16_384 and other.text == shape.text


def test_the_counted_parameters_are_those_of_a_real_model(tiny_model, tmp_path):
    real = shape_of(ModelConfig(path=tiny_model))
    shutil.copy(tiny_model / "config.json", tmp_path)
    counted = shape_of(ModelConfig(path=tmp_path))
    assert counted.parameters == real.parameters
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(tiny_model).num_parameters() == real.parameters


@pytest.mark.parametrize(
    "ranks, stage, weights, gradients, optimiser",
    [(4, 1, 2, 6, 3), (4, 2, 2, 1, 3), (4, 3, 0.5, 1, 3), (8, 3, 0.25, 0.5, 1.5)],
)
def test_zero_shares_out_a_ranks_state(seven, ranks, stage, weights, gradients, optimiser):
    """Bytes per parameter: 2 for a bfloat16 weight, 4 for its gradients, 12 for the master copy and Adam's moments."""
    recipe = seven("1x8x80", f"learner.workers={ranks}", f"learner.zero_stage={stage}").recipe
    state = rank_state(recipe, PARAMETERS, PARAMETERS)
    buckets = 1e9 if stage < 3 else 2e9  # 5e8 gradients of 2 bytes, twice where ZeRO-3 overlaps
    assert state["weights"] == weights * PARAMETERS and state["gradients"] == gradients * PARAMETERS + buckets
    assert state["optimiser"] == optimiser * PARAMETERS and state["reference"] == 2 * PARAMETERS


def test_what_is_not_trained_has_neither_gradients_nor_moments(seven):
    frozen = seven("1x8x80", "learner.freeze={vision: true, projector: true}")
    assert frozen.shape.trained == 7_615_616_512  # the parameters of Qwen2.5-7B, its language model
    lora = seven("1x8x80", "learner.lora={rank: 16}")
    pairs = (
        2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)
    )  # of q, o; k, v; gate, up, down: widths in and out
    adapters = lora.shape.trained
    assert adapters == 28 * 16 * pairs and lora.shape.parameters == PARAMETERS
    parts = lora.memory["learner"].parts
    assert parts["weights"] == 2 * (PARAMETERS + adapters) and parts["optimiser"] == 3 * adapters
    assert parts["gradients"] == 1 * adapters + 1e9 and parts["reference"] == 2 * adapters
    assert "stages.closed.training.lr: 1e-06 is a rate for whole weights" in lora.notes[0] and len(lora.notes) == 2
    with pytest.raises(UserError, match="learner.freeze.layers: 29 is too many, the language model has 28 layers"):
        seven("1x8x80", "learner.freeze.layers=29")


def test_what_is_offloaded_lies_in_the_ram(seven):
    """ZeRO-Offload (arXiv 2101.06840, §4.1): per parameter 2 bytes stay on the GPU, 16 go to RAM."""
    whole = seven("1x8x80", "learner.offload=optimiser").memory["learner"]
    assert whole.parts["weights"] == 2 * PARAMETERS and not whole.parts["optimiser"] and not whole.parts["reference"]
    assert whole.parts["gradients"] == 1e9  # the bucket
    plain = seven("1x8x80").memory["learner"]
    assert whole.ram - plain.ram == (16 / 4 + 2) * PARAMETERS  # on four ranks, and the reference
    sharded = seven("1x8x80", "learner.offload=parameters", "learner.zero_stage=3").memory["learner"]
    assert sharded.parts["weights"] == 2e9 and sharded.ram - whole.ram == 2 / 4 * PARAMETERS


def test_zero_3_does_not_have_the_whole_weights_at_any_time(seven):
    memory = seven(
        "16x8x80",
        "learner.workers=16",
        "learner.zero_stage=3",
        "learner.micro_batch_tokens=256",
        "rollout.max_model_tokens=256",
        "rollout.max_response_tokens=128",
    ).memory["learner"]
    assert memory.when != "publishing" and memory.parts["weights"] == 2 * PARAMETERS / 16


def learning(tiny_model, phantom_tasks, response, dtype, more):
    """A recipe, and what a learner does with the largest pack that it allows: (recipe, policy, pack)."""
    import torch

    from actors.learner.deepspeed_engine import checkpoint_layers, choose_trained
    from actors.model.encode import Encoder, PromptConfig
    from actors.model.policy import Policy
    from actors.trajectory import Sample

    encoder = Encoder(tiny_model, PromptConfig())
    policy = Policy(tiny_model, encoder, getattr(torch, dtype))
    prompt, count = encoder.expand(phantom_tasks[0]), 3
    length = len(prompt) + response
    recipe = load_recipe(
        RECIPES / "quickstart.yaml",
        [
            f"rollout.max_model_tokens={length}",
            f"rollout.max_response_tokens={response}",
            f"learner.dtype={dtype}",
            "learner.zero_stage=1",
            f"learner.micro_batch_tokens={length * count}",
            *more,
        ],
    )
    choose_trained(policy.model, recipe.learner)
    if recipe.learner.gradient_checkpointing:
        checkpoint_layers(policy.model)
    films = list(dict.fromkeys(task.images for task in phantom_tasks))[:count]
    samples = [Sample(prompt, images, np.full(response, 300, np.int32)) for images in films]
    return recipe, policy, policy.collate(samples, range(count), torch.device("cpu"))


@pytest.mark.parametrize(
    "response, dtype, more",
    [
        (240, "float32", []),
        (60, "float32", []),
        (240, "bfloat16", []),
        (60, "bfloat16", []),
        (240, "bfloat16", ["learner.lora={rank: 16}"]),
        (60, "float32", ["learner.freeze.vision=true"]),
    ],
)
def test_the_activations_are_those_that_torch_keeps(tiny_model, phantom_tasks, response, dtype, more):
    import torch

    recipe, policy, batch = learning(tiny_model, phantom_tasks, response, dtype, more)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*policy.parameters(), *policy.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy(batch, 1.0)
    real = sum(size for place, size in kept.items() if place not in own)
    parts = activations(recipe, shape_of(ModelConfig(path=tiny_model)))
    assert parts["activations"] == pytest.approx(real, rel=0.1)  # and no logits


@pytest.mark.parametrize("response", [60, 500])
def test_checkpointed_layers_leave_their_inputs_and_one_layer(tiny_model, phantom_tasks, response):
    """By all that torch takes and gives back while it learns."""
    from torch.profiler import ProfilerActivity, profile

    recipe, policy, batch = learning(
        tiny_model, phantom_tasks, response, "float32", ["learner.gradient_checkpointing=true"]
    )
    for parameter in policy.parameters():
        parameter.grad = parameter.detach().clone()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        policy(batch, 1.0)[0].sum().backward()
    events = sorted(
        (e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    )
    real = np.cumsum([event.nbytes() for event in events]).max()
    parts = activations(recipe, shape_of(ModelConfig(path=tiny_model)))
    assert sum(parts.values()) == pytest.approx(real, rel=0.15)


def test_an_engine_fills_its_gpu_with_kv_cache(seven):
    plan = seven("1x8x80")
    memory = plan.memory["rollout"]
    assert memory.total == pytest.approx(0.9 * 80 * GIB) and memory.parts["weights"] == 2 * PARAMETERS
    assert plan.sequences == math.floor(memory.parts["KV cache"] / (57_344 * 8192))
    split = seven("1x8x80", "rollout.gpus=2").memory["rollout"]
    assert split.parts["weights"] == PARAMETERS
    assert rollout_memory(plan.recipe, plan.shape, None).parts["KV cache"] == 0


def test_an_engine_that_has_no_room_for_a_sequence(seven):
    plan = seven("4x8x16", "learner.gpus=0", "learner.dtype=float32")
    assert [fault.kind for fault in plan.faults] == ["rollout"] and "KV cache of one sequence" in plan.faults[0].text
    (fault,) = quickstart([Node("n", 4.0)], "rollout.max_model_tokens=1000000").faults
    assert "1,000,000 tokens takes 1.4 GiB of KV cache, an engine has 1.0 GiB" in fault.text


# -- placement --------------------------------------------------------------------------------------------------------


def loads(asks, nodes):
    placement = place(asks, parse_nodes(nodes))
    return [dict(load.holds) for load in placement.loads], dict(placement.unplaced)


def test_an_engine_of_two_gpus_needs_them_on_one_node():
    pair = WorkerRequest("rollout", 1, 1, 2)
    assert loads([pair], ["2x1x80"]) == ([{}, {}], {"rollout": 1})
    assert loads([pair], ["1x1x80", "1x2x80"]) == ([{}, {"rollout": 1}], {})
    assert loads([pair, WorkerRequest("learner", 2, 1, 1)], ["2x2x80"]) == ([{"rollout": 1}, {"learner": 2}], {})
    assert loads([WorkerRequest("rollout", 3, 1, 2)], ["2x3x80"])[1] == {"rollout": 1}


def test_parts_of_gpus_are_parts_of_one():
    assert loads([WorkerRequest("rollout", 3, 1, 0.6)], ["1x2x80"])[1] == {"rollout": 1}
    assert loads([WorkerRequest("rollout", 4, 1, 0.5)], ["1x2x80"])[1] == {}
    assert loads([WorkerRequest("rollout", 2, 1, 0.5), WorkerRequest("learner", 1, 1, 1)], ["1x2x80"])[1] == {}


def test_ranks_go_where_the_learner_resource_is_and_others_leave_it_alone():
    asks = [WorkerRequest("rollout", 4, 1, 2), WorkerRequest("learner", 8, 1, 1, 1), WorkerRequest("reward", 2, 1)]
    held, left = loads(asks, ["2x8x80,learner=4", "1x0,cpus=8"])
    assert left == {} and [node.get("learner") for node in held] == [4, 4, None] and held[2] == {"reward": 2}
    assert loads(asks, ["1x8x80,learner=8", "1x8x80"])[0] == [{"learner": 8, "reward": 2}, {"rollout": 4}]
    assert loads(asks, ["1x8x80,learner=4", "1x8x80"])[1] == {"learner": 4}


def test_fewer_ranks_that_go_on_are_enough_and_hold_more_each():
    nodes, settings = [Node("n", 4.0, learner=1.0)], ["learner.workers=4", "learner.zero_stage=2"]
    plan = quickstart(nodes, *settings, "learner.min_workers=1")
    assert plan.fits and plan.placement.loads[0].holds["learner"] == 1
    assert "learner workers may be up to 4; this is for 1" in plan.notes
    assert not quickstart(nodes, *settings).fits
    assert plan.memory["learner"].total > quickstart(nodes, *settings).memory["learner"].total


def test_cpus_are_of_a_node_as_well():
    assert loads([WorkerRequest("reward", 3, 2)], ["3x0,cpus=3"])[1] == {}
    assert loads([WorkerRequest("reward", 3, 2)], ["2x0,cpus=3"])[1] == {"reward": 1}


def test_ram_is_counted_by_node():
    assert quickstart([Node("small", 2.0, ram=13 * GIB)]).fits
    (fault,) = quickstart([Node("small", 2.0, ram=8 * GIB)]).faults
    assert fault.about == "RAM" and fault.text.startswith(
        "small: has 8.0 GiB of RAM and would need 12.1 GiB (2 rollout"
    )


def test_the_nodes_of_a_cluster_and_those_that_its_autoscaler_may_bring():
    """What Ray answers: the head, one pod of a group of four, nothing of the other."""
    gpu = {"CPU": 8.0, "GPU": 1.0, "learner": 1.0, "memory": 60.0 * GIB, "object_store_memory": 30.0 * GIB}
    nodes = [
        {"name": "10.0.0.1", "resources": {"memory": GIB}, "gpu_bytes": None},
        {"name": "10.0.0.2", "resources": gpu, "gpu_bytes": 80 * GIB},
    ]
    groups = [
        {"name": "learner", "resources": {"CPU": 8, "GPU": 1, "learner": 1}, "most": 4},
        {"name": "reward", "resources": {"CPU": 4}, "most": 2},
    ]
    found = nodes_of(nodes, groups)
    assert len(found) == 2 + 3 + 2 and found[0].cpus == 0
    assert found[1] == Node("10.0.0.2", 8.0, 1, 80 * GIB, 90 * GIB, 1) and found[2].gpu_bytes == 80 * GIB
    assert found[-1].cpus == 4 and found[-1].gpus == 0
    assert [node.name for node in nodes_of([nodes[0], nodes[1], nodes[0]], [])] == [
        "10.0.0.1 (1)",
        "10.0.0.2",
        "10.0.0.1 (2)",
    ]


def test_gpus_of_a_size_that_nobody_says_are_not_judged(seven):
    shape, recipe = seven("1x8x80").shape, seven("1x8x80").recipe
    plan = make_plan(recipe, shape, "a cluster", [Node("n", 96.0, 8)])
    assert plan.fits and plan.sequences is None and "is unknown" in plan.notes[0]


# -- advice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cluster, settings",
    [
        ("2x8x141,cpus=96,ram=1024", []),
        ("1x8x80,cpus=96,ram=1024", []),
        ("1x8x80", ["learner.zero_stage=1"]),
        ("4x8x40", ["learner.workers=16", "learner.zero_stage=3"]),
        ("1x8x141", ["rollout.gpus=4"]),
        ("1x8x141", ["rollout.gpus=0.5"]),
        ("8x1x141,cpus=4,ram=128", []),
    ],
)
def test_advice_that_is_followed_fits(seven, cluster, settings):
    plan = seven(cluster, *settings)
    advice = advise(plan)
    assert not plan.fits and advice.settings
    followed = [f"{key}={json.dumps(value)}" for key, value in advice.settings.items()]  # as a user gives them
    again = seven(cluster, *settings, *followed)
    assert again.fits, again.faults
    for alternative in advice.alternatives:
        alone = make_plan(with_settings(plan.recipe, alternative.settings), plan.shape, plan.source, plan.nodes)
        assert alone.fits == alternative.fits


@pytest.mark.parametrize(
    "nodes, settings",
    [
        ([Node("n", 1.0, ram=16 * GIB)], ["rollout.workers=4"]),
        ([Node("n", 2.0, ram=9 * GIB)], ["rollout.kv_cache_gib=4"]),
        ([Node("n", 2.0)], ["rollout.max_model_tokens=1000000"]),
        ([Node("n", 1.0)], ["rollout.cpus=2", "rollout.workers=3", "rollout.min=2", "rollout.max=4"]),
        ([Node("n", 4.0, learner=1.0)], ["learner.workers=4", "learner.min_workers=3"]),
    ],
)
def test_advice_for_cpus_that_is_followed_fits(nodes, settings):
    advice = advise(quickstart(nodes, *settings))
    assert advice.settings
    assert quickstart(nodes, *settings, *(f"{key}={json.dumps(value)}" for key, value in advice.settings.items())).fits


def test_what_changes_no_result_is_advised_first(seven):
    assert advise(seven("2x8x141")).settings == {"learner.zero_stage": 3, "learner.micro_batch_tokens": 8192}


def test_where_nothing_helps_it_is_said(seven):
    plan = seven("1x8x12")
    advice = advise(plan)
    assert advice.settings is None and advice.needs["rollout"] > 12 * GIB
    assert "no settings were found" in to_dict(plan, advice)["summary"]


def test_a_gpu_of_24_gib_holds_a_rank_of_seven_billion_parameters(seven):
    settings = advise(seven("1x8x24")).settings
    assert settings["learner.gradient_checkpointing"] and settings["learner.offload"] == "optimiser"


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["curlvpr", "plan", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(SystemExit) as exit:
            main()
        return exit.value.code, *capsys.readouterr()

    return run


def test_the_command_says_what_fits_here(run):
    code, out, _ = run(RECIPES / "smoke.yaml")
    assert code == 0 and out.splitlines()[-1] == "smoke fits into this machine"
    assert all(word in out for word in ("rollout", "learner", "reward", "weight store", "KV cache"))


def test_the_command_says_what_does_not_fit_and_what_would(run, seven_billion):
    arguments = (
        RECIPES / "cx_mind_7b.yaml",
        "--set",
        f"model.path={seven_billion}",
        "--cluster",
        "2x8x141,cpus=96,ram=1024",
    )
    assert run(*arguments)[0] == 0
    arguments += "--set", WHOLE
    code, out, _ = run(*arguments)
    assert (
        code == 1
        and "it would with --set learner.zero_stage=3 --set learner.micro_batch_tokens=8192" in out.splitlines()[-1]
    )
    code, out, _ = run(*arguments, "--json")
    told = json.loads(out)
    assert code == 1 and told["advice"]["settings"] == {"learner.zero_stage": 3, "learner.micro_batch_tokens": 8192}
    assert told["model"]["parameters"] == PARAMETERS and told["model"]["kv_bytes_per_token"] == 57_344
    assert {worker["kind"]: worker["workers"] for worker in told["workers"]} == {
        "rollout": 4,
        "learner": 4,
        "reward": 4,
    }
    code, out, _ = run(
        *arguments, "--set", "learner.zero_stage=3", "--set", "learner.micro_batch_tokens=8192", "--json"
    )
    assert code == 0 and json.loads(out)["advice"] is None


@pytest.mark.parametrize(
    "cluster, words",
    [
        ("2x8", "2x8: the GiB of a GPU are missing"),
        ("1x0x80", "GiB of a GPU are given, but no GPU"),
        ("0x8x80", "is no description"),
        ("many", "many: is no description of nodes; it is written NODESxGPUSxGIB"),
        ("1x8x80,cpu=3", "'cpu' is unknown; known are"),
        ("1x8x80,cpus=-1", "cpus is '-1'; a positive number is needed"),
        ("1x8x80,cpus=1,cpus=2", "is no description"),
    ],
)
def test_a_wrong_description_is_named(run, cluster, words):
    code, out, err = run(RECIPES / "smoke.yaml", "--cluster", cluster)
    assert code == 2 and not out and words in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "setting, words",
    [
        ("rollout.gpus=1.5", "rollout.gpus: 1.5: Ray gives a worker whole GPUs, or a part of one"),
        ("rollout.gpus=3", "rollout.gpus: 3: the model's 28 heads cannot be divided evenly"),
        ("learner.gpus=2", "learner.gpus: 2: a rank works on one GPU"),
        ("rollout.max_response_tokens=8192", "rollout.max_model_tokens: 8192 leaves no tokens for a prompt"),
        ("rollout.gpu=1", "rollout.gpu: unknown key; did you mean 'gpus'?"),
    ],
)
def test_a_wrong_setting_is_named(run, seven_billion, setting, words):
    code, _, err = run(
        RECIPES / "cx_mind_7b.yaml", "--set", f"model.path={seven_billion}", "--set", setting, "--cluster", "1x8x80"
    )
    assert code == 2 and words in err and len(err.splitlines()) == 1


def test_a_cluster_that_does_not_answer_is_told_in_one_line(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match="RAY_ADDRESS=.* cannot be joined: ConnectionRefusedError.*--cluster describes"):
        find_nodes([])
    assert find_nodes(["1x0,cpus=2"])[1] == [Node("node 1", 2.0)]


def test_a_model_that_does_not_say_what_it_is(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        shape_of(ModelConfig(path=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="has no config.json"):
        shape_of(ModelConfig(path=tmp_path))
    for text, words in (
        ("{", "cannot be read as JSON"),
        ("[]", "holds no mapping"),
        ("{}", "a model of type '' cannot be trained"),
        (json.dumps({**TEXT, **MODEL, "hidden_size": None}), "is no configuration of a model .*hidden_size"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=words):
            shape_of(ModelConfig(path=tmp_path))
