"""The memory that one worker needs, by what it is for. Estimates for this code: which tensors live at once was read from
`actors/model/policy.py` and `actors/learner/rank.py`, from transformers' Qwen2.5-VL and from DeepSpeed.

Activations are counted as Korthikanti et al. do ("Reducing Activation Recomputation in Large Transformer Models", 2022,
§4.1): every tensor that an operator keeps for its backward, here of layers with RMSNorm, gated MLP, grouped-query attention
and no dropout. Without the paper's term 5 a s² b of attention scores, since SDPA never writes those. With
`gradient_checkpointing` ("full recomputation" there) each layer keeps its input, and the one that goes backward all of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.model.config import LOGITS_AT_ONCE, WEIGHTS_AT_ONCE
from cluster.config.recipe import Recipe
from cluster.planning.model_shape import ModelShape, Tower

GIB = 2**30
PROCESS_BYTES = {"rollout": 1.5 * GIB, "reward": 0.15 * GIB, "learner": 1.5 * GIB}  # Python and libraries of one worker
GPU_LIBRARIES = {"rollout": 2.5 * GIB, "learner": 2 * GIB}  # CUDA context, cuBLAS, NCCL; CUDA graphs. A rule of thumb
BUCKET = 500_000_000  # gradients that DeepSpeed reduces at once: its `reduce_bucket_size`, which no recipe changes
KV_BLOCK = 16  # tokens; vLLM gives a sequence whole blocks
LOGIT_BYTES = (
    16  # of a token and word: logits, log-probabilities, and two copies for the entropy or the gradient, in float32
)
SUB_GROUP = 1_000_000_000  # weights of a rank that ZeRO-3 updates at once: DeepSpeed's `sub_group_size`
LIVE = 1_000_000_000  # offloaded weights that DeepSpeed has on the GPU at once: its `stage3_max_live_parameters`


def gib(count: float) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= 0.1 * GIB else f"{count / 2**20:,.0f} MiB"


@dataclass(frozen=True)
class Memory:
    """Of one worker, in bytes.

    Attributes:
        where: "GPU": of each of its GPUs; "RAM": of the machine.
        when: what it does when it needs most.
        parts: what is held then, by what it is for.
        ram: of the machine, too, where `where` is "GPU"; else the sum of `parts`.
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


# -- learner ------------------------------------------------------------------------------------------------------------


def learner_memory(recipe: Recipe, shape: ModelShape) -> Memory:
    """Of a rank, at the worst of three moments: learning, updating, publishing (ZeRO-3 gathers a bucket of weights for that, which
    may be one large weight, and a broadcast packs it into one piece); on a CPU of a fourth, committing (rank 0 has the whole
    weights in RAM)."""
    learner, count, trained = recipe.learner, shape.parameters, shape.trained
    width, place = width_of(learner.dtype), "GPU" if learner.gpus else "RAM"
    state = rank_state(recipe, count, trained)
    gathered = min(count * width, max(WEIGHTS_AT_ONCE, shape.vocabulary * shape.text.hidden * width))
    buckets = (learner.zero_stage == 3) + recipe.collective
    moments: dict[str, dict[str, float]] = {
        "learning": activations(recipe, shape),
        "updating": {}
        if learner.offload != "none"
        else {"gradients": state["gradients"] + update_bytes(recipe, trained)},
        "publishing": {"weights": state["weights"] + buckets * gathered} if buckets else {},
    }
    if has_reference(recipe) and learner.offload != "none" and not learner.lora:
        moments["reading the reference"] = {"reference": count * width} | activations(recipe, shape, backward=False)
    libraries = GPU_LIBRARIES["learner"]
    if not learner.gpus:
        libraries = PROCESS_BYTES["learner"]
        moments["committing"] = {"weights": state["weights"] + count * width} if learner.zero_stage == 3 else {}
    parts = {when: state | more | {"libraries": libraries} for when, more in moments.items()}
    worst = max(parts, key=lambda when: sum(parts[when].values()))
    ram = learner_ram(recipe, count, trained) if learner.gpus else sum(parts[worst].values())
    return Memory(place, worst, parts[worst], ram)


def rank_state(recipe: Recipe, count: int, trained: int) -> dict[str, float]:
    """What a rank holds all the time where it works, of `count` parameters and the `trained` ones among or, as adapters, beside
    them; each sharded from its ZeRO stage on, but for the reference, which is whole on every rank: a copy, or adapters alone.

    ZeRO: Rajbhandari et al., arXiv 1910.02054, §3 and figure 1. Adam's moments and the sums of gradients are float32, and but for
    plain float32 there is a float32 master copy of the weights. In bfloat16 ZeRO-1 is DeepSpeed's BF16_Optimizer, which keeps the
    newest gradients beside the sums. What is offloaded is in `offloaded_state` instead.
    """
    learner, stage = recipe.learner, recipe.learner.zero_stage
    # Of an elastic learner's ranks: the fewer there are, the more each holds.
    width, ranks, held = width_of(learner.dtype), learner.fewest, count + (trained if learner.lora else 0)
    optimiser = 8 if learner.dtype == "float32" and stage == 0 else 12
    # On a GPU the bucket is taken whole however small the model is, twice where ZeRO-3 overlaps; in RAM unused pages are free.
    bucket = BUCKET * width * (2 if stage == 3 else 1) if learner.gpus and stage else 0
    newest = stage == 1 and learner.dtype == "bfloat16" and learner.offload == "none"
    state = {
        "weights": held * width / (ranks if stage >= 3 else 1),
        "gradients": trained * (4 / ranks if stage >= 2 else 6 if newest else 4) + bucket,
        "optimiser": trained * optimiser / (ranks if stage >= 1 else 1),
        "reference": float((trained if learner.lora else count) * width if has_reference(recipe) else 0),
    }
    if learner.offload != "none":  # from ZeRO-2 on, gradients go to the RAM as they come
        state |= {"optimiser": 0.0, "reference": 0.0} | ({"gradients": float(bucket)} if stage >= 2 else {})
    if learner.offload == "parameters":
        state["weights"] = float(min(held, LIVE) * width)
    return state


def update_bytes(recipe: Recipe, trained: int) -> float:
    """Beside a rank's state while it updates: AdamW's square root, in ZeRO-3 the sub-group's gradients once more; in float32."""
    stage, shard = recipe.learner.zero_stage, trained / (recipe.learner.fewest if recipe.learner.zero_stage else 1)
    return 8 * min(shard, SUB_GROUP) if stage == 3 else 4 * shard


def offloaded_state(recipe: Recipe, count: int, trained: int) -> float:
    """Bytes of RAM that a rank holds all the time beside its GPU: master weights, moments and gradients of its shard in float32,
    the reference, and where they are offloaded its shard of the weights."""
    learner, ranks = recipe.learner, recipe.learner.fewest
    if learner.offload == "none":
        return 0.0
    weights = count / ranks if learner.offload == "parameters" else 0
    reference = (trained if learner.lora else count) if has_reference(recipe) else 0
    return 16 * trained / ranks + (weights + reference) * width_of(learner.dtype)


def learner_ram(recipe: Recipe, count: int, trained: int) -> float:
    """Rank 0 copies the whole weights to RAM to commit them; on CPU its state lies there too. Activations are not in it."""
    state = offloaded_state if recipe.learner.gpus else lambda *given: sum(rank_state(*given).values())
    return PROCESS_BYTES["learner"] + count * width_of(recipe.learner.dtype) + state(recipe, count, trained)


def activations(recipe: Recipe, shape: ModelShape, backward: bool = True) -> dict[str, float]:
    """Of the largest pack, in bytes: full-length samples, each of another prompt and film, with as large a film as fits. Without
    `backward` nothing is kept but what one layer works on."""
    learner, width = recipe.learner, width_of(recipe.learner.dtype)
    length, response = (
        recipe.rollout.max_model_tokens,
        min(recipe.rollout.max_response_tokens, recipe.rollout.max_model_tokens),
    )
    prompt, tokens = length - response, max(learner.micro_batch_tokens, length)  # a sample is never split
    samples = tokens / length
    film = prompt if shape.image_tokens is None else min(prompt, shape.image_tokens)
    text, vision, h = shape.text, shape.vision, shape.text.hidden
    flash = learner.gpus > 0 and learner.dtype == "bfloat16"
    # Without flash attention a response that is shorter than its prompt has a mask, in every layer.
    mask = 0 if flash or prompt < response else samples * response * length * width
    layer = tokens * (_layer_bytes(text, width) + width * _packed_attention_values(text, prompt / length, flash)) + mask
    patches = samples * film * shape.patches
    seeing = patches * (_layer_bytes(vision, width) + width * (4 * vision.heads * vision.head_dim + 3 * vision.hidden))
    layers, blocks = text.layers, vision.layers
    if not (("vision" in learner.lora.targets) if learner.lora else not learner.freeze.vision):
        blocks = 0  # nothing there waits for a gradient
    head = tokens * _norm_bytes(h, width) + samples * response * h * width
    logits = float(min(LOGITS_AT_ONCE, tokens * shape.vocabulary) * LOGIT_BYTES)
    if not backward:
        return {"activations": max(layer, seeing), "logits": logits}
    if not learner.gradient_checkpointing:
        return {"activations": layers * layer + blocks * seeing + head, "logits": logits}
    inputs = width * (layers * tokens * h + blocks * patches * vision.hidden)
    # Where a layer goes backward alone, the gradients in its MLP come on top: of the gate, the other half, their product.
    again = max(
        layer + 3 * width * tokens * text.intermediate, blocks and seeing + 3 * width * patches * vision.intermediate
    )
    return (
        {"activations": inputs + again} if again > head + logits else {"activations": inputs + head, "logits": logits}
    )


def _packed_attention_values(text: Tower, prompt: float, flash: bool) -> float:
    """Numbers that a text layer's attention keeps of a token for its backward; `prompt` is the prompts' share of the tokens.

    Flash attention: queries and output, and keys and values, the prompt's once more for its response. Else keys and values
    have a head for every query head; where a response is longer than its prompt, its queries and output begin with the prompt.
    """
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    if flash:
        return 2 * queries + 2 * keys * (1 + prompt)
    return queries * ((8 + prompt) if prompt < 0.5 else 7)


def _layer_bytes(tower: Tower, width: int) -> int:
    """That a layer keeps of a token for its backward, but for attention: two norms with their outputs; of the MLP the gate, its
    SiLU, the other half, their product. The vision tower keeps four times `heads` for attention (q, k, v and what it gives) and
    three `hidden` more: its q, k, v are one tensor, and its attention is joined from windows.
    """
    return 2 * _norm_bytes(tower.hidden, width) + width * 4 * tower.intermediate


def _norm_bytes(hidden: int, width: int) -> int:
    """RMSNorm keeps its input in float32, what it is normalised to, and what the next layer reads."""
    return hidden * (4 + 2 * width)


def has_reference(recipe: Recipe) -> bool:
    return any(stage.needs_reference for stage in recipe.stages)


# -- rollout ------------------------------------------------------------------------------------------------------------


def rollout_memory(recipe: Recipe, shape: ModelShape, gpu: float | None) -> Memory:
    """Of an engine; on a GPU of `gpu` bytes the KV cache is what the rest leaves (0 where it leaves nothing; None: not known).

    vLLM measures its own activations when it starts, with one pass over `max_batched_tokens` tokens and as many of films, and
    one sampling for `max_sequences`; here they are the widest tensors of either pass.
    """
    rollout, width, shards = recipe.rollout, width_of(recipe.rollout.dtype), shards_of(recipe)
    weights = shape.parameters * width / shards
    if not rollout.gpus:  # the process's bytes were measured at work
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
    """A GPU's engine reads its weights through RAM as well."""
    rollout = recipe.rollout
    return (
        PROCESS_BYTES["rollout"] + count * width_of(rollout.dtype) + (0 if rollout.gpus else rollout.kv_cache_gib * GIB)
    )


def sequence_bytes(recipe: Recipe, shape: ModelShape) -> int:
    """The KV cache of one sequence of `max_model_tokens`, on each GPU of an engine."""
    blocks = -(-recipe.rollout.max_model_tokens // KV_BLOCK)
    return blocks * KV_BLOCK * shape.kv_bytes_per_token(width_of(recipe.rollout.dtype), shards_of(recipe))


def shards_of(recipe: Recipe) -> int:
    """An engine's tensor-parallel size."""
    return max(1, int(recipe.rollout.gpus))


def width_of(dtype: str) -> int:
    """Bytes of a number."""
    return 4 if dtype in ("float32", "float") else 2
