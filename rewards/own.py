"""The ready-made rules, by the names that recipes give them: `rewards.own:stage_order`, `rewards.own:length_guard`."""

from rewards.rules.length_guard import length_guard
from rewards.rules.stage_order import stage_order

__all__ = ["length_guard", "stage_order"]
