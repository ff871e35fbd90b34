"""Reward workers, and the workers of rules that need packages or GPUs of their own."""

from actors.reward.config import RewardWorkersConfig
from actors.reward.worker import Response, RewardWorker

__all__ = ["Response", "RewardWorker", "RewardWorkersConfig"]
