"""Weights that ZeRO-3 shards, sharded while they are read: no rank ever holds the whole model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

ONE_BY_ONE = {"HF_DEACTIVATE_ASYNC_LOAD": "1"}  # else transformers' threads read ahead, up to the whole model


@contextmanager
def sharded_as_loaded(settings: Mapping[str, Any], dtype: torch.dtype) -> Iterator[None]:
    """Inside, `from_pretrained` shards each weight over the ranks as soon as it has read it. Every rank must take part.

    By itself DeepSpeed shards a model that is whole on every GPU, and what transformers does for ZeRO-3 reads the
    whole checkpoint into the memory of every rank.

    Args:
        settings: DeepSpeed's own configuration, with ZeRO-3.
        dtype: of the weights.
    """
    hook = register_module_parameter_registration_hook(_Sharder(dict(settings), dtype))
    before = {name: os.environ.get(name) for name in ONE_BY_ONE}
    os.environ.update(ONE_BY_ONE)
    try:
        yield
    finally:
        hook.remove()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


class _Sharder:
    """torch calls this with each parameter that a module is given."""

    def __init__(self, settings: dict[str, Any], dtype: torch.dtype) -> None:
        self.settings, self.dtype = settings, dtype
        self.sharded: nn.Parameter | None = None

    def __call__(self, module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        import deepspeed

        if parameter is None or parameter.is_meta or hasattr(parameter, "ds_id"):
            return
        if torch.distributed.get_rank():  # rank 0 sends the weight; written to, the file's own pages would stay
            parameter.data = torch.empty_like(parameter.data)
        if self.sharded is not None:
            self.sharded.convert_to_zero_parameters(param_list=[parameter])
            return
        holder = nn.Module()
        holder._parameters["weight"] = parameter  # without a call of this hook
        deepspeed.zero.Init(module=holder, config_dict_or_path=self.settings, dtype=self.dtype)
        self.sharded = parameter
