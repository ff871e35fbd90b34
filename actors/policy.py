"""The policy as the learner sees it: log-probabilities of response tokens under the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .encode import Encoder
from .trajectory import Sample


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Padded tensors for one forward. `index` names the samples' places in the list that was cut up.

    Shapes: ids, mask [samples, length]; positions [3, samples, length]; pixels [patches of the different images, …];
    grid [different images, 3]; image_of [image occurrences]; where [response tokens] flat places whose output predicts
    the token `targets` [response tokens].
    """

    index: tuple[int, ...]
    ids: Tensor
    mask: Tensor
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
    """

    def __init__(self, folder: str | Path, encoder: Encoder, dtype: torch.dtype) -> None:
        super().__init__()
        from transformers import AutoModelForImageTextToText

        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self.model.config.use_cache = False
        self.encoder = encoder
        vocab = self.model.get_output_embeddings().weight.shape[0]
        bias = torch.zeros(vocab)
        bias[encoder.forbidden(vocab)] = FORBIDDEN_BIAS
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, batch: MicroBatch, temperature: float, raw: bool = False) -> tuple[Tensor, Tensor]:
        """(log-probabilities [response tokens], entropies [response tokens] without gradient), samples one after another.

        `raw` leaves the bias out, as an engine's prompt log-probabilities do.
        """
        base = self.model.model
        features = base.get_image_features(batch.pixels, batch.grid).pooler_output
        images = BaseModelOutputWithPooling(pooler_output=tuple(features[i] for i in batch.image_of.tolist()))
        hidden = base(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions,
            image_grid_thw=batch.grid[batch.image_of], mm_encoder_outputs={"image": images},
            mm_token_type_ids=(batch.ids == self.encoder.image_token).int(), use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden.flatten(0, 1)[batch.where]).float()
        log_probabilities = torch.log_softmax((logits if raw else logits + self.bias) / temperature, -1)
        with torch.no_grad():
            entropies = -(log_probabilities.exp() * log_probabilities).sum(-1)
        return log_probabilities.gather(-1, batch.targets[:, None])[:, 0], entropies

    @staticmethod
    def cut(samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int) -> list[list[int]]:
        """Cuts the chosen samples into lists of places, longest first, so that samples × longest stays within
        `max_tokens` (or is one sample).

        Samples of the same images stay together where their lengths allow: an image's features are computed once a batch.
        """
        longest: dict[tuple[str, ...], int] = {}
        for i in chosen:
            longest[samples[i].images] = max(longest.get(samples[i].images, 0), len(samples[i]))
        cuts: list[list[int]] = []
        width = 0
        for i in sorted(chosen, key=lambda i: (-longest[samples[i].images], samples[i].images, i)):
            wider = max(width, len(samples[i]))
            if not cuts or wider * (len(cuts[-1]) + 1) > max_tokens:
                cuts.append([])
                wider = len(samples[i])
            cuts[-1].append(i)
            width = wider
        return cuts

    def collate(self, samples: Sequence[Sample], index: Sequence[int], device: torch.device) -> MicroBatch:
        chosen = [samples[i] for i in index]
        width = max(map(len, chosen))
        ids = np.full((len(chosen), width), self.encoder.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(chosen), width), np.int64)
        positions = np.zeros((3, len(chosen), width), np.int64)
        where, targets = [], []
        images = {path: n for n, path in enumerate(dict.fromkeys(path for s in chosen for path in s.images))}
        prompts: dict[int, np.ndarray] = {}
        for row, sample in enumerate(chosen):
            start, end = len(sample.prompt_ids), len(sample)
            ids[row, :start], ids[row, start:end] = sample.prompt_ids, sample.response_ids
            mask[row, :end] = 1
            if id(sample.prompt_ids) not in prompts:  # a group shares its prompt's array
                prompts[id(sample.prompt_ids)] = self._prompt_positions(sample)
            prompt = prompts[id(sample.prompt_ids)]
            positions[:, row, :start] = prompt
            positions[:, row, start:end] = prompt.max() + 1 + np.arange(end - start)
            where.append(row * width + np.arange(start - 1, end - 1))
            targets.append(sample.response_ids)
        pixels = [self.encoder.pixels(path) for path in images]
        to = lambda array: torch.as_tensor(array, device=device)  # noqa: E731
        return MicroBatch(
            index=tuple(index), ids=to(ids), mask=to(mask), positions=to(positions),
            pixels=to(np.concatenate([p for p, _ in pixels])), grid=to(np.stack([g for _, g in pixels])),
            image_of=to(np.array([images[path] for s in chosen for path in s.images])),
            where=to(np.concatenate(where)), targets=to(np.concatenate(targets).astype(np.int64)),
            lengths=tuple(len(s.response_ids) for s in chosen))

    def _prompt_positions(self, sample: Sample) -> np.ndarray:
        """int64 [3, prompt tokens]: time, row and column positions, as the model itself counts them (M-RoPE)."""
        ids = torch.as_tensor(sample.prompt_ids.astype(np.int64))[None]
        grid = torch.as_tensor(np.stack([self.encoder.pixels(path)[1] for path in sample.images]))
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=(ids == self.encoder.image_token).int(), image_grid_thw=grid)
        return positions[:, 0].numpy()


FORBIDDEN_BIAS = -1e9  # no chance at all, as in the sampler's mask; finite, so that the entropy's 0 × log 0 is 0
