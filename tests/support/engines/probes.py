"""What the learner's policy says about samples, and probes for an engine made of it."""

import torch

from actors.trajectory import Sample


def logprobs(policy, samples, raw=False):
    """At temperature 1, of each sample by itself: float32 [response tokens]."""
    cpu = torch.device("cpu")
    with torch.no_grad():
        values = [policy(policy.collate(samples, [i], cpu), 1.0, raw)[0] for i in range(len(samples))]
    return [value.float().numpy() for value in values]


def probe_of(policy, tasks):
    """The tasks with their references as responses."""
    encoder = policy.encoder
    samples = [Sample(encoder.expand(t), t.images, encoder.response_ids(t.reference)) for t in tasks]
    return list(zip(tasks, samples, logprobs(policy, samples, raw=True), strict=True))
