"""The policy as the learner sees it: log-probabilities of response tokens under the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from actors.model import attention
from actors.model.config import WEIGHTS_AT_ONCE
from actors.model.encode import Encoder
from actors.model.flops.amounts import Amounts, of_images, of_layout
from actors.model.flops.costs import ModelCosts, model_costs, windows_of
from actors.model.gather import in_parts
from actors.model.head import LogprobHead
from actors.model.image_batch import ImageBatch, batch_images
from actors.model.lora import adapted_layer, is_adapter, merged, unmerged
from actors.model.packing import Layout, cut_packed, cut_padded, pack, pad
from actors.trajectory import Sample

FORBIDDEN_BIAS = -1e9  # probability 0, as in the sampler's mask; finite, so that the entropy's 0 × log 0 is 0


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Tensors for one forward.

    Attributes:
        index: the samples' positions in the list that was cut up.
        ids: [rows, length]; one row if the samples are packed.
        mask: [rows, length], 1 at tokens; None if the samples are packed.
        segments: what is packed in the row; None if the samples are padded.
        positions: [rows, length], or [3, rows, length] for models that count time, rows and columns (M-RoPE).
        images: the images in the ids, or a blank one if there are none; None if the model reads text only.
        where: [response tokens], flat positions whose output predicts `targets`.
        targets: [response tokens].
        lengths: response tokens of each sample.
        amounts: what its FLOPs are counted by.
    """

    index: tuple[int, ...]
    ids: Tensor
    mask: Tensor | None
    segments: attention.RowSegments | None
    positions: Tensor
    images: ImageBatch | None
    where: Tensor
    targets: Tensor
    lengths: tuple[int, ...]
    amounts: Amounts


def _bias(vocab: int, tokens: Sequence[int]) -> Tensor:
    """[vocab], against the given tokens."""
    bias = torch.zeros(vocab)
    bias[list(tokens)] = FORBIDDEN_BIAS
    return bias


class Policy(nn.Module):
    """A language model, with vision or without, that gives the log-probability of each response token.

    Tokens that may not be sampled are left out of the distribution here, just as the sampler masks them, so that both
    sides mean the same policy.

    Args:
        folder: a Hugging Face folder.
        encoder: of the same folder.
        dtype: of the weights.
        packed: whether samples are packed; if None, whenever the model allows it.
    """

    def __init__(self, folder: str | Path, encoder: Encoder, dtype: torch.dtype, packed: bool | None = None) -> None:
        super().__init__()
        family = encoder.family
        self.model = family.load(folder, dtype)
        self.model.config.use_cache = False
        self.encoder = encoder
        self.packed = family.can_pack(self.model.config) if packed is None else packed
        attention.register()
        if self.packed:
            self.model.get_decoder().config._attn_implementation = attention.PACKED
        if family.windowed_tower is not None:
            tower = getattr(self.model.model, family.windowed_tower)
            tower.config._attn_implementation = attention.WINDOWS
        head = self.model.get_output_embeddings()
        # The same module with another `forward`; a new one would have to take over the weight and its tie.
        head.__class__ = LogprobHead
        head.cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        vocab = head.out_features
        self.register_buffer("bias", _bias(vocab, encoder.forbidden(vocab)), persistent=False)
        suppressed = self.model.generation_config.suppress_tokens if family.suppresses else None
        self.register_buffer("raw_bias", _bias(vocab, suppressed) if suppressed else None, persistent=False)

    @cached_property
    def costs(self) -> ModelCosts:
        """What its forward passes cost, if it is not trained."""
        return model_costs(self.model, self.encoder.family, False)

    def forward(self, batch: MicroBatch, temperature: float, raw: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of the response tokens.

        Args:
            batch: what to read.
            temperature: the logits are divided by it.
            raw: leave out the bias against forbidden tokens, as an engine's prompt log-probabilities do, except
                against those that the engine's own model suppresses.

        Returns:
            (log-probabilities, entropies), both float32 [response tokens], in the order of the batch's `index`.
        """
        hidden = self.hidden(batch).flatten(0, 1).index_select(0, batch.where)
        bias = self.raw_bias if raw else self.bias
        return self.model.get_output_embeddings()(hidden, batch.targets, bias, temperature)

    def hidden(self, batch: MicroBatch) -> Tensor:
        """The last layer's output [rows, length, hidden size].

        An image's features are computed once for all of its occurrences.
        """
        base = self.model.model
        arguments: dict[str, Any] = {}
        if batch.segments is not None:
            arguments["segments"] = batch.segments
        features = None if batch.images is None else batch.images.features(base)
        occurs = batch.images is not None and bool(batch.images.order)
        if batch.images is not None and occurs:
            arguments["mm_encoder_outputs"] = {"image": batch.images.for_each_occurrence(features)}
        if self.encoder.family.image_marks:
            arguments[self.encoder.family.image_marks] = (batch.ids == self.encoder.image_token).long()
        hidden = base(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False, **arguments
        ).last_hidden_state
        if batch.images is None or occurs:
            return hidden
        # The blank image adds nothing, but its gradient must pass through the vision tower (see `collate`).
        return hidden + 0 * batch.images.sum(features)

    def _weights(self) -> dict[str, Tensor]:
        """Every weight once, by the first of its names."""
        weights = self.model.state_dict(keep_vars=True)
        first_name = {id(value): name for name, value in reversed(weights.items())}
        return {name: value for name, value in weights.items() if first_name[id(value)] == name}

    def parts(
        self, max_bytes: int = WEIGHTS_AT_ONCE, wanted: bool = True, adapters_alone: bool = False
    ) -> Iterator[dict[str, Tensor]]:
        """Yields every weight once, adapters merged, as `in_parts` does; a tied output head is omitted.

        Every rank must take part.

        Args:
            max_bytes: of one part.
            wanted: if False, the parts are empty; for ranks that only help to gather.
            adapters_alone: yield adapters, as `unmerged` makes them, and nothing else.
        """
        weights, made = self._weights(), merged
        if adapters_alone:
            weights, made = {name: value for name, value in weights.items() if is_adapter(name)}, unmerged
        for part in in_parts(weights, max_bytes, adapted_layer):
            plain = made(self.model, part) if wanted else {}
            yield plain
            plain.clear()

    def state(self, wanted: bool = True) -> dict[str, Tensor]:
        """All `parts` at once, on the CPU."""
        state: dict[str, Tensor] = {}
        for part in self.parts(wanted=wanted):
            state.update((name, value.cpu().contiguous()) for name, value in part.items())
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads what `state` returned.

        Raises:
            RuntimeError: a weight is missing or unknown.
        """
        tied = self.model.state_dict().keys() - self._weights().keys()
        result = self.model.load_state_dict(state, strict=False)
        missing = sorted(set(result.missing_keys) - tied)
        if result.unexpected_keys or missing:
            raise RuntimeError(
                f"these weights are not this model's: unknown {result.unexpected_keys}, missing {missing}"
            )

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` by the names in the model's folder, which engines read."""
        return revert_weight_conversion(self.model, dict(state))

    def cut(
        self, samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int, min_cuts: int = 1
    ) -> list[list[int]]:
        """Cuts the chosen samples into micro-batches.

        Args:
            samples: all samples.
            chosen: indices of those that are cut up.
            max_tokens: of a micro-batch, padding included; one sample may exceed it.
            min_cuts: if samples are packed, the minimum number of micro-batches, as far as there are enough samples.

        Returns:
            Lists of indices.
        """
        if self.packed:
            return cut_packed(samples, chosen, max_tokens, min_cuts)
        return cut_padded(samples, chosen, max_tokens)

    def collate(self, samples: Sequence[Sample], index: Sequence[int], device: torch.device) -> MicroBatch:
        """The samples at `index` as tensors on `device`."""
        layout, config = self._lay_out(samples, index), self.model.config
        paths = dict.fromkeys(layout.images if self.encoder.family.reads_images else ())
        pixels = {path: self.encoder.film(path).pixels for path in paths}
        images = of_images(pixels.values(), getattr(config, "vision_config", None))

        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=device)

        return MicroBatch(
            index=layout.index,
            ids=tensor(layout.ids),
            mask=None if layout.mask is None else tensor(layout.mask),
            segments=None if layout.segments is None else attention.RowSegments(layout.segments, device),
            positions=tensor(layout.positions if len(layout.positions) > 1 else layout.positions[0]),
            images=self._images(layout.images, pixels, device),
            where=tensor(layout.where),
            targets=tensor(layout.targets),
            lengths=tuple(len(samples[i].response_ids) for i in layout.index),
            amounts=of_layout(layout, windows_of(config.get_text_config()), *images),
        )

    def _lay_out(self, samples: Sequence[Sample], index: Sequence[int]) -> Layout:
        if self.packed:
            return pack(samples, index, self._prompt_positions)
        return pad(samples, index, self._prompt_positions, self.encoder.eos)

    def _images(
        self, paths: Sequence[str], pixels: Mapping[str, Mapping[str, np.ndarray]], device: torch.device
    ) -> ImageBatch | None:
        """Each image of a layout once.

        Without any, a model that reads images reads a blank one for nothing: under ZeRO-3 the ranks wait for each other
        in every module, and another rank may have images.
        """
        if not self.encoder.family.reads_images:
            return None
        index = {path: n for n, path in enumerate(pixels)}
        images = list(pixels.values()) or [self.encoder.blank.pixels]
        return batch_images(self.encoder.family, images, [index[path] for path in paths], device)

    def _prompt_positions(self, sample: Sample) -> np.ndarray:
        """int64 [1, prompt tokens], or [3, prompt tokens] for models that count time, rows and columns (M-RoPE)."""
        get_rope_index = getattr(self.model.model, "get_rope_index", None)
        tokens = len(sample.prompt_ids)
        if get_rope_index is None:
            return np.arange(tokens)[None]
        if not sample.images:
            return np.broadcast_to(np.arange(tokens), (3, tokens))
        ids = torch.as_tensor(sample.prompt_ids.astype(np.int64))[None]
        grids = [self.encoder.film(path).pixels["image_grid_thw"] for path in sample.images]
        positions, _ = get_rope_index(
            ids,
            mm_token_type_ids=(ids == self.encoder.image_token).int(),
            image_grid_thw=torch.as_tensor(np.concatenate(grids)),
        )
        return positions[:, 0].numpy()
