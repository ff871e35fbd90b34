"""DeepSpeed around the policy: what is trained, at which rate and in which precision, and a step of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from actors.learner.config import Freeze, LearnerConfig
from actors.learner.reshard import TAG
from actors.model.lora import adapt
from actors.model.model_parts import is_embedding, layer_of, part_of
from actors.model.policy import Policy


class OptimiserStep(NamedTuple):
    """`norm` of the gradient before clipping; if it was not finite, the step was not `applied` on any rank."""

    norm: float
    applied: bool


class DeepSpeedEngine:
    """The policy under DeepSpeed. Every rank makes the same calls in the same order.

    Args:
        policy: on its device; what the configuration freezes needs no gradients any more.

    Raises:
        ValueError: as `choose_trained`.
    """

    def __init__(self, policy: Policy, config: LearnerConfig) -> None:
        import deepspeed

        choose_trained(policy.model, config)
        if config.gradient_checkpointing:
            checkpoint_layers(policy.model)
        groups, self.scales = parameter_groups(policy, config)
        self.decays = [group["weight_decay"] for group in groups]
        # An offloaded optimiser works on a CPU, where the fused kernel is several times as fast.
        optimizer = torch.optim.AdamW(
            groups, lr=1e-6, betas=config.betas, fused=True if config.offload != "none" else None
        )
        self.policy, self.config, self.world = policy, config, torch.distributed.get_world_size()
        self.deepspeed, self.optimizer, *_ = deepspeed.initialize(
            model=policy, optimizer=optimizer, config=settings(config)
        )

    def __call__(self, *arguments: Any) -> Any:
        """The policy's forward, for `backward`."""
        return self.deepspeed(*arguments)

    def fresh_optimiser(self) -> None:
        """Resets the optimiser, as if it had made no step yet."""
        for state in self._states():
            for value in state.values():
                value.zero_()

    def _states(self) -> list[dict[str, Tensor]]:
        """The states of AdamW, which ZeRO wraps."""
        return list(getattr(self.optimizer, "optimizer", self.optimizer).state.values())

    def backward(self, loss: Tensor, last: bool) -> None:
        """Adds the gradient of a loss that is a share of the global mean. The `last` call comes right before `step`."""
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.deepspeed.backward(loss * self.world)  # DeepSpeed averages over ranks
        if not last:
            self.deepspeed.step()

    def step(self, lr: float) -> OptimiserStep:
        """Clips the gradient and updates. A gradient that is not finite is dropped: weights and optimiser stay as they
        were.
        """
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = lr * scale
        if self.config.zero_stage == 0:  # there DeepSpeed clips, but neither keeps nor checks the norm
            norm = float(nn.utils.get_total_norm([p.grad for p in self.policy.parameters() if p.grad is not None]))
            applied = math.isfinite(norm)
            if applied:
                self.deepspeed.step()
            else:
                self.deepspeed.zero_grad()
            return OptimiserStep(norm, applied)
        self.deepspeed.step()
        return OptimiserStep(float(self.deepspeed.get_global_grad_norm()), self.deepspeed.was_step_applied())

    def save(self, folder: Path) -> None:
        """Writes weights and optimiser as every rank holds them, without frozen weights, which the model folder has."""
        self.deepspeed.save_checkpoint(str(folder), tag=TAG, exclude_frozen_parameters=True)

    def load(self, folder: Path, universal: bool = False) -> None:
        """Reads what `save` wrote on as many ranks, or the `universal` form of what it wrote on another number of
        ranks.

        Raises:
            FileNotFoundError: nothing was saved there.
        """
        frozen = any(not p.requires_grad for p in self.policy.parameters())
        self.deepspeed._config.load_universal_checkpoint = universal  # DeepSpeed only reads it from its settings
        path, _ = self.deepspeed.load_checkpoint(str(folder), tag=TAG, load_module_strict=not frozen)
        if path is None:
            raise FileNotFoundError(f"no learner checkpoint in {folder}")
        if universal:
            # ZeRO-3 gives all groups the settings of the first one, and one step count that all advance.
            for group, decay in zip(self.optimizer.param_groups, self.decays, strict=True):
                group["weight_decay"] = decay
            for state in self._states():
                state["step"] = state["step"].clone()


def settings(config: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's own configuration (deepspeed.ai/docs/config-json)."""
    zero: dict[str, Any] = {"stage": config.zero_stage}
    if config.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if config.offload == "parameters":
        zero["offload_param"] = {"device": "cpu"}
    # Master weights are float32 in any case; gradients of micro-batches are added up in float32 as well.
    half = {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if config.dtype == "bfloat16" else {}
    return half | {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.clip_grad,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def choose_trained(model: nn.Module, config: LearnerConfig) -> None:
    """Gives the model its adapters, or freezes parts of it. Raises ValueError as `adapt` and `freeze` do."""
    if config.lora:
        adapt(model, config.lora)
    else:
        freeze(model, config.freeze)


def freeze(model: nn.Module, parts: Freeze) -> None:
    """Turns off the gradients of the named parts.

    Raises:
        ValueError: the model has no such part, has fewer layers, or nothing would be left to train.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layer_by_name = {name: layer for name in names if (layer := layer_of(name)) is not None}
    layers = 1 + max(layer_by_name.values(), default=-1)
    if parts.layers > layers:
        raise ValueError(f"learner.freeze.layers: {parts.layers} is too many, the language model has {layers} layers")
    chosen = {
        "vision": [name for name in names if parts.vision and part_of(name) == "vision"],
        "projector": [name for name in names if parts.projector and part_of(name) == "projector"],
        "embedding": [name for name in names if parts.embedding and is_embedding(name)],
        "layers": [name for name, layer in layer_by_name.items() if layer < parts.layers],
    }
    frozen: set[str] = set()
    for part, weights in chosen.items():
        if getattr(parts, part) and not weights:
            raise ValueError(f"learner.freeze.{part}: this model has no part that is known by such a name")
        frozen |= set(weights)
    if len(frozen) == len(names):
        raise ValueError("learner.freeze: nothing is left to train")
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)


def parameter_groups(policy: nn.Module, config: LearnerConfig) -> tuple[list[dict[str, Any]], list[float]]:
    """AdamW's groups of trained weights, and each group's factor of the learning rate. Matrices are decayed; norms and
    biases are not.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            shape = getattr(parameter, "ds_shape", parameter.shape)  # of the whole, if ZeRO-3 has sharded it
            decay = config.weight_decay if len(shape) >= 2 else 0.0
            part = part_of(name)
            scale = config.lr_scale.get(part, 1.0) if part else 1.0
            groups.setdefault((scale, decay), []).append(parameter)
    keys = sorted(groups, reverse=True)
    return [{"params": groups[key], "weight_decay": key[1]} for key in keys], [scale for scale, _ in keys]


def checkpoint_layers(model: nn.Module) -> None:
    """Makes each layer keep only its input for the backward pass. Parts with dropout stay in evaluation mode."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    model.gradient_checkpointing_enable({"use_reentrant": False})
    # transformers has embeddings and patches require gradients, which only reentrant checkpoints need. A frozen vision
    # tower would be computed again, and have a backward pass, for nothing.
    model.disable_input_require_grads()
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True  # only then does it checkpoint; its parts stay in evaluation
