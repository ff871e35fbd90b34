"""The policy as the learner sees it: log-probabilities of response tokens under the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from actors.model import attention
from actors.model.config import WEIGHTS_AT_ONCE
from actors.model.encode import Encoder
from actors.model.family import Images, side_by_side
from actors.model.gather import in_parts
from actors.model.head import LogprobHead
from actors.model.lora import adapted_layer, merged
from actors.model.packing import cut_packed, cut_padded, pack, pad
from actors.trajectory import Sample


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Tensors for one forward. `index` names the samples' places in the list that was cut up.

    Shapes: ids [rows, length], one row where `segments` says what is packed in it; mask [rows, length] where it is padded;
    positions [rows, length], or [3, rows, length] of models that count time, rows and columns; images of a blank one where there
    are none, None where the model reads text alone; where [response tokens] flat places whose output predicts the token
    `targets` [response tokens].
    """

    index: tuple[int, ...]
    ids: Tensor
    mask: Tensor | None
    segments: attention.RowSegments | None
    positions: Tensor
    images: Images | None
    where: Tensor
    targets: Tensor
    lengths: tuple[int, ...]


class Policy(nn.Module):
    """A language model, with vision or without, that answers with the log-probability of each response token.

    Tokens that may not be sampled are left out of the distribution here too, as the sampler masks them,
    so that both sides mean the same policy.

    Args:
        packed: whether samples are packed; where None, if the model can have that.
    """

    def __init__(self, folder: str | Path, encoder: Encoder, dtype: torch.dtype, packed: bool | None = None) -> None:
        super().__init__()
        self.model = encoder.family.load(folder, dtype)
        self.model.config.use_cache = False
        self.encoder = encoder
        self.packed = encoder.family.packs(self.model.config) if packed is None else packed
        attention.register()
        if self.packed:
            self.model.get_decoder().config._attn_implementation = attention.PACKED
        if encoder.family.windows:
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
        hidden = self.hidden(batch).flatten(0, 1).index_select(0, batch.where)
        return self.model.get_output_embeddings()(hidden, batch.targets, None if raw else self.bias, temperature)

    def hidden(self, batch: MicroBatch) -> Tensor:
        """[rows, length, hidden size] of the last layer. An image's features are computed once for all its occurrences."""
        base = self.model.model
        more: dict[str, Any] = {} if batch.segments is None else {"segments": batch.segments}
        seen = None if batch.images is None else batch.images.read(base)
        if seen is not None and batch.images.of:
            more["mm_encoder_outputs"] = {"image": batch.images.placed(seen)}
        if self.encoder.family.bidirectional:
            more["token_type_ids"] = (batch.ids == self.encoder.image_token).long()
        hidden = base(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False, **more
        ).last_hidden_state
        return hidden if seen is None or batch.images.of else hidden + 0 * batch.images.total(seen)

    def _weights(self) -> dict[str, Tensor]:
        """Every weight by its first name."""
        weights = self.model.state_dict(keep_vars=True)
        first = {id(value): name for name, value in reversed(weights.items())}
        return {name: value for name, value in weights.items() if first[id(value)] == name}

    def parts(self, most: int = WEIGHTS_AT_ONCE, wanted: bool = True) -> Iterator[dict[str, Tensor]]:
        """Every weight once, adapters merged, as `in_parts`; a head that is the embedding goes without saying.

        Every rank takes part; one where they are not `wanted` gets parts without any.
        """
        for part in in_parts(self._weights(), most, adapted_layer):
            whole = merged(self.model, part) if wanted else {}
            yield whole
            whole.clear()

    def state(self, wanted: bool = True) -> dict[str, Tensor]:
        """All `parts` at once, on the CPU."""
        return {name: value.cpu().contiguous() for part in self.parts(wanted=wanted) for name, value in part.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` gave. Raises RuntimeError: a weight is missing or too many."""
        tied = self.model.state_dict().keys() - self._weights().keys()
        told = self.model.load_state_dict(state, strict=False)
        if told.unexpected_keys or set(told.missing_keys) - tied:
            raise RuntimeError(
                f"these weights are not this model's: unknown {told.unexpected_keys}, "
                f"missing {sorted(set(told.missing_keys) - tied)}"
            )

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` by the names that the model's folder has, which engines read."""
        return revert_weight_conversion(self.model, dict(state))

    def cut(self, samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int, least: int = 1) -> list[list[int]]:
        """Cuts the chosen samples into lists of places, each at most `max_tokens` tokens of a row or rows (or one sample).

        At least `least` lists where samples are packed, and are so many.
        """
        return (
            cut_packed(samples, chosen, max_tokens, least) if self.packed else cut_padded(samples, chosen, max_tokens)
        )

    def collate(self, samples: Sequence[Sample], index: Sequence[int], device: torch.device) -> MicroBatch:
        layout = (
            pack(samples, index, self._prompt_positions)
            if self.packed
            else pad(samples, index, self._prompt_positions, self.encoder.eos)
        )
        images = {path: n for n, path in enumerate(dict.fromkeys(layout.images))}
        # Ranks under ZeRO-3 wait for each other in every module: one that has only text looks at a blank image, for nothing.
        films = [self.encoder.film(path).pixels for path in images]
        if self.encoder.family.sees and not films:
            films = [self.encoder.blank.pixels]
        to = lambda array: torch.as_tensor(array, device=device)  # noqa: E731
        return MicroBatch(
            index=layout.index,
            ids=to(layout.ids),
            mask=None if layout.mask is None else to(layout.mask),
            segments=None if layout.segments is None else attention.RowSegments(layout.segments, device),
            positions=to(layout.positions if len(layout.positions) > 1 else layout.positions[0]),
            images=side_by_side(self.encoder.family, films, [images[path] for path in layout.images], device)
            if films
            else None,
            where=to(layout.where),
            targets=to(layout.targets),
            lengths=tuple(len(samples[i].response_ids) for i in layout.index),
        )

    def _prompt_positions(self, sample: Sample) -> np.ndarray:
        """int64 [1, prompt tokens], or [3, prompt tokens] of models that count time, rows and columns (M-RoPE)."""
        count = getattr(self.model.model, "get_rope_index", None)
        if count is None or not sample.images:
            return np.broadcast_to(
                np.arange(len(sample.prompt_ids)), (1 if count is None else 3, len(sample.prompt_ids))
            )
        ids = torch.as_tensor(sample.prompt_ids.astype(np.int64))[None]
        grid = torch.as_tensor(
            np.concatenate([self.encoder.film(path).pixels["image_grid_thw"] for path in sample.images])
        )
        positions, _ = count(ids, mm_token_type_ids=(ids == self.encoder.image_token).int(), image_grid_thw=grid)
        return positions[:, 0].numpy()


FORBIDDEN_BIAS = -1e9  # no chance at all, as in the sampler's mask; finite, so that the entropy's 0 × log 0 is 0
