"""Log-probabilities by a plain transformers forward: an independent reference for tests."""

import torch
from PIL import Image


def logits_of(model, encoder, samples):
    """The logits [response tokens, vocabulary] of each sample on its own."""
    logits = []
    for sample in samples:
        ids = torch.tensor([[*sample.prompt_ids, *sample.response_ids]]).long()
        images = [Image.open(path).convert("RGB") for path in sample.images]
        films = encoder.processor.image_processor(images=images, return_tensors="pt") if images else {}
        out = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **films,
            mm_token_type_ids=(ids == encoder.image_token).int(),
        ).logits[0]
        logits.append(out[len(sample.prompt_ids) - 1 : -1])
    return logits


def log_softmax(logits, bias, temperature):
    scaled = (logits.double() + bias) / temperature
    return scaled - scaled.exp().sum(-1, keepdim=True).log()
