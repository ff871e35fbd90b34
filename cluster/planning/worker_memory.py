"""The memory that one worker needs, by what it is for. These are estimates for this code.

Which tensors exist at once was read from `actors/model/policy.py` and `actors/learner/rank.py`, from transformers'
Qwen2.5-VL and from DeepSpeed.

Activations are counted as Korthikanti et al. do ("Reducing Activation Recomputation in Large Transformer Models", 2022,
§4.1): every tensor that an operator keeps for its backward pass, here in layers with RMSNorm, gated MLP, grouped-query
attention and no dropout. The paper's term 5 a s² b of attention scores is left out, since SDPA never writes those. With
`gradient_checkpointing` ("full recomputation" in the paper) each layer keeps its input, and only the layer in its
backward pass keeps all of its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.model.config import LOGITS_AT_ONCE, LOGITS_AT_ONCE_ON_GPU, WEIGHTS_AT_ONCE
from cluster.config.recipe import Recipe
from cluster.planning.adapter_way import adapters_alone
from cluster.planning.model_shape import ModelShape, Tower, folder_shapes

GIB = 2**30
PROCESS_BYTES = {"rollout": 1.5 * GIB, "reward": 0.15 * GIB, "learner": 1.5 * GIB}  # Python and libraries of one worker
GPU_LIBRARIES = {"rollout": 2.5 * GIB, "learner": 2 * GIB}  # CUDA context, cuBLAS, NCCL; CUDA graphs. A rule of thumb
BUCKET = 500_000_000  # gradients that DeepSpeed reduces at once: its `reduce_bucket_size`, which recipes do not change
KV_BLOCK = 16  # tokens; vLLM gives whole blocks to a sequence
LOGIT_BYTES = 16  # per token and word: logits, log-probabilities, and two copies for entropy or gradient, in float32
SUB_GROUP = 1_000_000_000  # weights of a rank that ZeRO-3 updates at once: DeepSpeed's `sub_group_size`
LIVE = 1_000_000_000  # offloaded weights that DeepSpeed has on the GPU at once: its `stage3_max_live_parameters`


def gib(count: float) -> str:
    """Bytes in words: "1.5 GiB", below a tenth of a GiB "64 MiB"."""
    return f"{count / GIB:,.1f} GiB" if count >= 0.1 * GIB else f"{count / 2**20:,.0f} MiB"


@dataclass(frozen=True)
class Memory:
    """The memory of one worker, in bytes.

    Attributes:
        where: "GPU" (memory of each of its GPUs) or "RAM".
        when: what the worker does when it needs the most.
        parts: what it then holds, by what it is for.
        ram: bytes of RAM; if `where` is "RAM", the sum of `parts`.
    """

    where: str
    when: str
    parts: Mapping[str, float]
    ram: float

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def reward_memory() -> Memory:
    return Memory("RAM", "scoring", {"libraries": PROCESS_BYTES["reward"]}, PROCESS_BYTES["reward"])


# -- learner ----------------------------------------------------------------------------------------------------------


def learner_memory(recipe: Recipe, shape: ModelShape) -> Memory:
    """The memory of a rank at its worst moment: learning, updating, publishing, or on a CPU committing.

    To publish, ZeRO-3 gathers a bucket of weights, which may be one large weight, or of adapters that travel alone; and
    a broadcast packs it into one piece. To commit, rank 0 holds the whole weights in RAM.
    """
    learner, count, trained = recipe.learner, shape.parameters, shape.trained
    width = width_of(learner.dtype)
    state = rank_state(recipe, count, trained)
    if adapters_alone(recipe):
        gathered = min(trained * width, WEIGHTS_AT_ONCE)
    else:
        gathered = min(count * width, max(WEIGHTS_AT_ONCE, shape.vocabulary * shape.text.hidden * width))
    buckets = (learner.zero_stage == 3) + recipe.weight_transport.extra_buckets
    updating = {} if learner.offload != "none" else {"gradients": state["gradients"] + update_bytes(recipe, trained)}
    moments: dict[str, dict[str, float]] = {
        "learning": activations(recipe, shape),
        "updating": updating,
        "publishing": {"weights": state["weights"] + buckets * gathered} if buckets else {},
    }
    if has_reference(recipe) and learner.offload != "none" and not learner.lora:
        moments["reading the reference"] = {"reference": count * width} | activations(recipe, shape, backward=False)
    moments["reading a teacher"] = _reading_others(recipe)
    libraries = GPU_LIBRARIES["learner"]
    if not learner.gpus:
        libraries = PROCESS_BYTES["learner"]
        moments["committing"] = {"weights": state["weights"] + count * width} if learner.zero_stage == 3 else {}
    parts = {when: state | more | {"libraries": libraries} for when, more in moments.items()}
    worst = max(parts, key=lambda when: sum(parts[when].values()))
    ram = learner_ram(recipe, count, trained) if learner.gpus else sum(parts[worst].values())
    return Memory("GPU" if learner.gpus else "RAM", worst, parts[worst], ram)


def _reading_others(recipe: Recipe) -> dict[str, float]:
    """What comes on top while the largest model of another folder reads; {} if there is none."""
    offloaded, width = recipe.learner.offload != "none", width_of(recipe.learner.dtype)
    readings: list[dict[str, float]] = [{}]
    for stage in recipe.stages:
        for other in folder_shapes(recipe, stage):
            fetched = {"other models": float(other.parameters * width)} if offloaded else {}
            readings.append(fetched | activations(recipe, other, backward=False))
    return max(readings, key=lambda reading: sum(reading.values()))


def resting_memory(recipe: Recipe, shape: ModelShape) -> float:
    """Bytes that a rank keeps on its GPU between two orders."""
    return sum(rank_state(recipe, shape.parameters, shape.trained).values()) + GPU_LIBRARIES["learner"]


def rank_state(recipe: Recipe, count: int, trained: int) -> dict[str, float]:
    """What a rank holds all the time on its device, in bytes by what it is for.

    Everything is sharded from its ZeRO stage on, except what every rank holds whole: the reference, a copy or adapters
    alone, and the models of other folders, teachers and references. What is offloaded is in `offloaded_state` instead.

    ZeRO: Rajbhandari et al., arXiv 1910.02054, §3 and figure 1. Adam's moments and the sums of gradients are float32,
    and except in plain float32 there is a float32 master copy of the weights. In bfloat16 ZeRO-1 is DeepSpeed's
    BF16_Optimizer, which keeps the newest gradients beside the sums.

    Args:
        count: parameters of the model.
        trained: those of them that are trained; with adapters, the adapters' parameters, which come on top.
    """
    learner, stage = recipe.learner, recipe.learner.zero_stage
    width = width_of(learner.dtype)
    ranks = learner.fewest  # of an elastic learner: the fewer ranks there are, the more each holds
    held = count + (trained if learner.lora else 0)
    optimiser = 8 if learner.dtype == "float32" and stage == 0 else 12
    # On a GPU the bucket is allocated whole however small the model is, and twice in ZeRO-3, which overlaps. In RAM
    # unused pages are free.
    bucket = BUCKET * width * (2 if stage == 3 else 1) if learner.gpus and stage else 0
    if stage >= 2:
        gradient = 4 / ranks
    elif stage == 1 and learner.dtype == "bfloat16" and learner.offload == "none":
        gradient = 6  # the newest beside the sum
    else:
        gradient = 4
    state = {
        "weights": held * width / (ranks if stage >= 3 else 1),
        "gradients": trained * gradient + bucket,
        "optimiser": trained * optimiser / (ranks if stage >= 1 else 1),
        "reference": float((trained if learner.lora else count) * width if has_reference(recipe) else 0),
        "other models": float(other_parameters(recipe) * width),
    }
    if learner.offload != "none":
        state |= {"optimiser": 0.0, "reference": 0.0, "other models": 0.0}
        if stage >= 2:  # gradients go to RAM as they come
            state["gradients"] = float(bucket)
    if learner.offload == "parameters":
        state["weights"] = float(min(held, LIVE) * width)
    return state


def update_bytes(recipe: Recipe, trained: int) -> float:
    """Bytes beside a rank's state during an update: AdamW's square root, in ZeRO-3 with the sub-group's gradients."""
    stage = recipe.learner.zero_stage
    shard = trained / (recipe.learner.fewest if stage else 1)
    return 8 * min(shard, SUB_GROUP) if stage == 3 else 4 * shard


def offloaded_state(recipe: Recipe, count: int, trained: int) -> float:
    """Bytes of RAM that a rank on a GPU holds all the time.

    Master weights, moments and gradients of its shard in float32, the reference, other models, and its shard of the
    weights if those are offloaded.
    """
    learner, ranks = recipe.learner, recipe.learner.fewest
    if learner.offload == "none":
        return 0.0
    weights = count / ranks if learner.offload == "parameters" else 0
    reference = (trained if learner.lora else count) if has_reference(recipe) else 0
    return 16 * trained / ranks + (weights + reference + other_parameters(recipe)) * width_of(learner.dtype)


def learner_ram(recipe: Recipe, count: int, trained: int) -> float:
    """Bytes of RAM of a rank without activations. Rank 0 copies the whole weights there to commit them."""
    if recipe.learner.gpus:
        state = offloaded_state(recipe, count, trained)
    else:
        state = sum(rank_state(recipe, count, trained).values())
    return PROCESS_BYTES["learner"] + count * width_of(recipe.learner.dtype) + state


def activations(recipe: Recipe, shape: ModelShape, backward: bool = True) -> dict[str, float]:
    """Activations and logits of the largest pack, in bytes.

    The pack consists of full-length samples with different prompts, each with the largest film that fits. Without
    `backward` only what one layer works on is held.
    """
    learner, width = recipe.learner, width_of(recipe.learner.dtype)
    length = recipe.rollout.max_model_tokens
    response = min(recipe.rollout.max_response_tokens, length)
    prompt = length - response
    tokens = max(learner.micro_batch_tokens, length)  # a sample is never split
    samples = tokens / length
    film = prompt if shape.image_tokens is None else min(prompt, shape.image_tokens)
    text, vision, h = shape.text, shape.vision, shape.text.hidden
    flash = learner.gpus > 0 and learner.dtype == "bfloat16"
    # Without flash attention, a response that is shorter than its prompt has a mask in every layer.
    mask = 0 if flash or prompt < response else samples * response * length * width
    layer = tokens * (_layer_bytes(text, width) + width * _packed_attention_values(text, prompt / length, flash)) + mask
    patches = samples * film * shape.patches
    seeing = patches * (_layer_bytes(vision, width) + width * (4 * vision.heads * vision.head_dim + 3 * vision.hidden))
    trains_vision = "vision" in learner.lora.targets if learner.lora else not learner.freeze.vision
    layers = text.layers
    blocks = vision.layers if trains_vision else 0  # without gradients nothing is kept
    head = tokens * _norm_bytes(h, width) + samples * response * h * width
    at_once = LOGITS_AT_ONCE_ON_GPU if learner.gpus else LOGITS_AT_ONCE
    logits = float(min(at_once, tokens * shape.vocabulary) * LOGIT_BYTES)
    if not backward:
        return {"activations": max(layer, seeing), "logits": logits}
    if not learner.gradient_checkpointing:
        return {"activations": layers * layer + blocks * seeing + head, "logits": logits}
    inputs = width * (layers * tokens * h + blocks * patches * vision.hidden)
    # When one layer goes backward, the gradients in its MLP come on top: of the gate, the other half, their product.
    text_layer = layer + 3 * width * tokens * text.intermediate
    vision_layer = seeing + 3 * width * patches * vision.intermediate if blocks else 0
    recomputed = max(text_layer, vision_layer)
    if recomputed > head + logits:
        return {"activations": inputs + recomputed}
    return {"activations": inputs + head, "logits": logits}


def _packed_attention_values(text: Tower, prompt: float, flash: bool) -> float:
    """Numbers per token that a text layer's attention keeps for its backward pass.

    With flash attention: queries and output, and keys and values, those of the prompt once more for its response.
    Without: keys and values have a head for every query head; if a response is longer than its prompt, its queries
    and output begin with the prompt.

    Args:
        prompt: the prompts' share of the tokens.
    """
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    if flash:
        return 2 * queries + 2 * keys * (1 + prompt)
    return queries * (8 + prompt) if prompt < 0.5 else queries * 7


def _layer_bytes(tower: Tower, width: int) -> int:
    """Bytes per token that a layer keeps for its backward pass, without attention.

    Two norms with their outputs; of the MLP the gate, its SiLU, the other half, and their product. For attention the
    vision tower keeps four times its heads (queries, keys, values and output) and three `hidden` more: its queries,
    keys and values are one tensor, and its attention is joined from windows.
    """
    return 2 * _norm_bytes(tower.hidden, width) + width * 4 * tower.intermediate


def _norm_bytes(hidden: int, width: int) -> int:
    """RMSNorm keeps its input in float32, the normalised values, and what the next layer reads."""
    return hidden * (4 + 2 * width)


def has_reference(recipe: Recipe) -> bool:
    """Whether the learner holds an earlier state of the policy itself; a reference of another folder is none."""
    return any(stage.needs_reference and not stage.folder_models.reference for stage in recipe.stages)


def other_parameters(recipe: Recipe) -> int:
    """Parameters of the models of other folders that a rank holds at once, in the stage that has the most."""
    return max(sum(shape.parameters for shape in folder_shapes(recipe, stage)) for stage in recipe.stages)


# -- rollout ----------------------------------------------------------------------------------------------------------


def rollout_memory(recipe: Recipe, shape: ModelShape, gpu: float | None) -> Memory:
    """The memory of an engine. On a GPU the KV cache takes what the rest leaves.

    When vLLM starts, it measures its activations in one pass over `max_batched_tokens` tokens and as many of films,
    and in one sampling step for `max_sequences`. Here they are the widest tensors of either.

    Args:
        gpu: bytes of the GPU; None if unknown, and the KV cache is then 0.
    """
    rollout, width, shards = recipe.rollout, width_of(recipe.rollout.dtype), shards_of(recipe)
    weights = shape.parameters * width / shards
    if adapters_alone(recipe):
        weights += shape.trained * width
    if not rollout.gpus:  # the bytes of the process were measured while it generated
        parts = {
            "weights": weights,
            "KV cache": float(rollout.kv_cache_gib * GIB),
            "libraries": PROCESS_BYTES["rollout"],
        }
        return Memory("RAM", "generating", parts, rollout_ram(recipe, shape.parameters))
    text, vision, tokens = shape.text, shape.vision, rollout.max_batched_tokens
    reading = tokens * width * (3 * text.intermediate / shards + 4 * text.hidden)
    seeing = tokens * shape.patches * width * (3 * vision.intermediate / shards + 5 * vision.hidden)
    parts = {
        "weights": weights,
        "activations": max(reading, seeing),
        "logits": float(rollout.max_sequences * shape.vocabulary * LOGIT_BYTES),
        "libraries": GPU_LIBRARIES["rollout"],
    }
    cache = 0.0 if gpu is None else max(0.0, rollout.gpu_share * gpu - sum(parts.values()))
    return Memory("GPU", "generating", parts | {"KV cache": cache}, rollout_ram(recipe, shape.parameters))


def rollout_ram(recipe: Recipe, count: int) -> float:
    """Bytes of RAM of an engine. One on a GPU reads its weights through RAM as well, or keeps the base weights of its
    adapters there while it sleeps.
    """
    rollout = recipe.rollout
    cache = 0 if rollout.gpus else rollout.kv_cache_gib * GIB
    return PROCESS_BYTES["rollout"] + count * width_of(rollout.dtype) + cache


def sequence_bytes(recipe: Recipe, shape: ModelShape) -> int:
    """Bytes of KV cache for one sequence of `max_model_tokens`, on each GPU of an engine."""
    shards = shards_of(recipe)
    blocks = -(-recipe.rollout.max_model_tokens // KV_BLOCK)
    keys = blocks * KV_BLOCK * shape.kv_bytes_per_token(width_of(recipe.rollout.dtype), shards)
    return keys + shape.state_bytes // shards


def shards_of(recipe: Recipe) -> int:
    """An engine's tensor-parallel size."""
    return max(1, int(recipe.rollout.gpus))


def width_of(dtype: str) -> int:
    """Bytes of a number."""
    return 4 if dtype in ("float32", "float") else 2
