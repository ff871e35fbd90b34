"""The policy as the learner sees it: log-probabilities of response tokens under the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from . import attention
from .encode import Encoder
from .head import LogprobHead
from .packing import cut_packed, cut_padded, pack, pad
from .trajectory import Sample

PACKED_MODELS = frozenset({"qwen2_5_vl"})  # whose text layers hand `segments` through to attention, and have no other mask


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Tensors for one forward. `index` names the samples' places in the list that was cut up.

    Shapes: ids [rows, length], one row where `segments` says what is packed in it; mask [rows, length] where it is padded;
    positions [3, rows, length]; pixels [patches of the different images, …], of a blank one where there are none; grid [different
    images, 3]; image_of [image occurrences]; where [response tokens] flat places whose output predicts the token `targets` [response tokens].
    """

    index: tuple[int, ...]
    ids: Tensor
    mask: Tensor | None
    segments: attention.RowSegments | None
    positions: Tensor
    pixels: Tensor
    grid: Tensor
    image_of: Tensor
    where: Tensor
    targets: Tensor
    lengths: tuple[int, ...]


class Policy(nn.Module):
    """A vision-language model that answers with the log-probability of each response token.

    Tokens that may not be sampled are left out of the distribution here too, as the sampler masks them,
    so that both sides mean the same policy.

    Args:
        packed: whether samples are packed; where None, if the model can have that.
    """

    def __init__(self, folder: str | Path, encoder: Encoder, dtype: torch.dtype, packed: bool | None = None) -> None:
        super().__init__()
        from transformers import AutoModelForImageTextToText

        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self.model.config.use_cache = False
        self.encoder = encoder
        self.packed = self.model.config.model_type in PACKED_MODELS if packed is None else packed
        attention.register()
        if self.packed:
            self.model.model.language_model.config._attn_implementation = attention.PACKED
        self.model.model.visual.config._attn_implementation = attention.WINDOWS
        head = self.model.get_output_embeddings()
        head.__class__ = LogprobHead
        vocab = head.weight.shape[0]
        bias = torch.zeros(vocab)
        bias[encoder.forbidden(vocab)] = FORBIDDEN_BIAS
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, batch: MicroBatch, temperature: float, raw: bool = False) -> tuple[Tensor, Tensor]:
        """(log-probabilities, entropies), both float32 [response tokens], in the order of the batch's `index`.

        `raw` leaves the bias out, as an engine's prompt log-probabilities do.
        """
        hidden = self._hidden(batch).flatten(0, 1).index_select(0, batch.where)
        return self.model.get_output_embeddings()(hidden, batch.targets, None if raw else self.bias, temperature)

    def _hidden(self, batch: MicroBatch) -> Tensor:
        """[rows, length, hidden size] of the last layer. An image's features are computed once for all its occurrences."""
        base = self.model.model
        features = base.get_image_features(batch.pixels, batch.grid).pooler_output
        more = {} if batch.segments is None else {"segments": batch.segments}
        if len(batch.image_of):
            images = BaseModelOutputWithPooling(pooler_output=tuple(features[i] for i in batch.image_of.tolist()))
            more["mm_encoder_outputs"] = {"image": images}
        hidden = base(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False,
                      **more).last_hidden_state
        return hidden if len(batch.image_of) else hidden + 0 * features[0].sum()

    def cut(self, samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int, least: int = 1) -> list[list[int]]:
        """Cuts the chosen samples into lists of places, each at most `max_tokens` tokens of a row or rows (or one sample).

        At least `least` lists where samples are packed, and are so many.
        """
        return cut_packed(samples, chosen, max_tokens, least) if self.packed else cut_padded(samples, chosen, max_tokens)

    def collate(self, samples: Sequence[Sample], index: Sequence[int], device: torch.device) -> MicroBatch:
        layout = (pack(samples, index, self._prompt_positions) if self.packed
                  else pad(samples, index, self._prompt_positions, self.encoder.tokenizer.pad_token_id))
        images = {path: n for n, path in enumerate(dict.fromkeys(layout.images))}
        # Ranks under ZeRO-3 wait for each other in every module: one that has only text looks at a blank image, for nothing.
        pixels = [self.encoder.pixels(path) for path in images] or [self.encoder.blank()]
        to = lambda array: torch.as_tensor(array, device=device)  # noqa: E731
        return MicroBatch(
            index=layout.index, ids=to(layout.ids), mask=None if layout.mask is None else to(layout.mask),
            segments=None if layout.segments is None else attention.RowSegments(layout.segments, device),
            positions=to(layout.positions),
            pixels=to(np.concatenate([p for p, _ in pixels])), grid=to(np.stack([g for _, g in pixels])),
            image_of=to(np.array([images[path] for path in layout.images], np.int64)),
            where=to(layout.where), targets=to(layout.targets),
            lengths=tuple(len(samples[i].response_ids) for i in layout.index))

    def _prompt_positions(self, sample: Sample) -> np.ndarray:
        """int64 [3, prompt tokens]: time, row and column positions, as the model itself counts them (M-RoPE)."""
        if not sample.images:
            return np.tile(np.arange(len(sample.prompt_ids)), (3, 1))
        ids = torch.as_tensor(sample.prompt_ids.astype(np.int64))[None]
        grid = torch.as_tensor(np.stack([self.encoder.pixels(path)[1] for path in sample.images]))
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=(ids == self.encoder.image_token).int(), image_grid_thw=grid)
        return positions[:, 0].numpy()


FORBIDDEN_BIAS = -1e9  # no chance at all, as in the sampler's mask; finite, so that the entropy's 0 × log 0 is 0
