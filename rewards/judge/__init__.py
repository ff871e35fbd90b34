"""A ready-made rule, `rewards.judge:Judge`: the opinion of a model behind an OpenAI-compatible endpoint."""

from rewards.judge.judge import Judge

__all__ = ["Judge"]
