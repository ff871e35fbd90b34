"""BERTScore (Zhang et al., ICLR 2020): how close the tokens of an answer are to those of the gold, by a model.

The numbers are those of the authors' package without idf weights and without rescaling; the package itself fails on
empty answers under transformers 5. Numbers can only be compared for the same model and layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actors.rules.loading import choose_device, load_tokenizer, longest_input

_TEXTS_AT_ONCE = 32


class BertScorer:
    """An encoder that compares texts.

    Args:
        folder: a Hugging Face folder with an encoder of the BERT kind (or an encoder and a decoder; the first is used)
            and its tokenizer.
        layer: the layer whose output stands for a token, counted from 1; by default the last.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        OSError, ValueError: the folder holds no such model, it has fewer layers, or there is no such device.
    """

    def __init__(self, folder: Path, layer: int | None = None, device: str = "auto") -> None:
        from transformers import AutoModel

        # A word is cut up the same way everywhere, at the start too.
        self.tokenizer = load_tokenizer(folder, add_prefix_space=True)
        model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
        config = model.config
        layers = config.num_hidden_layers
        if layer is not None and not 1 <= layer <= layers:
            raise ValueError(f"layer {layer}: the model has the layers 1 to {layers}")
        self.layer = layers if layer is None else layer
        self.device = choose_device(device)
        self.model = (model.get_encoder() if config.is_encoder_decoder else model).eval().to(self.device)
        self.longest = longest_input(self.tokenizer, config)

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
        """Scores each (answer, gold): "bertscore_precision", "bertscore_recall" and "bertscore_f1", float [pairs].

        Each token of the answer is worth its cosine similarity to the nearest token of the gold; precision is their
        mean, recall the same the other way round. Start and end tokens may be the nearest, but do not count
        themselves. An empty text scores 0. Text beyond the model's length is cut off.
        """
        scores = np.zeros((len(pairs), 2))
        written = [i for i, (answer, gold) in enumerate(pairs) if answer.strip() and gold.strip()]
        written.sort(key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))  # little padding
        for start in range(0, len(written), _TEXTS_AT_ONCE):
            chosen = written[start : start + _TEXTS_AT_ONCE]
            answers, golds = (self._embed([pairs[i][side].strip() for i in chosen]) for side in (0, 1))
            for i, (answer, of_answer), (gold, of_gold) in zip(chosen, answers, golds, strict=True):
                similar = answer @ gold.T
                scores[i] = similar.max(1).values[of_answer].mean().item(), similar.max(0).values[of_gold].mean().item()
        precision, recall = scores.T
        f1 = 2 * precision * recall / np.where(precision + recall == 0, 1, precision + recall)
        return {"bertscore_precision": precision, "bertscore_recall": recall, "bertscore_f1": f1}

    def _embed(self, texts: Sequence[str]) -> list[tuple[Any, Any]]:
        """The unit vectors of each text's tokens, tensor [tokens, width], and which of them count, bool [tokens]."""
        import torch

        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        ids, mask = batch.input_ids.to(self.device), batch.attention_mask.to(self.device)
        with torch.no_grad():
            hidden = self.model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[self.layer]
        vectors = torch.nn.functional.normalize(hidden.float(), dim=-1)
        edges = [token for token in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id) if token is not None]
        counts = ~torch.isin(ids, torch.tensor(edges, device=self.device))
        return [(v[kept], c[kept]) for v, c, kept in zip(vectors, counts, mask.bool(), strict=True)]
