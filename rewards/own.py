"""The built-in rules, by the names that recipes give them: `rewards.own:stage_order`, `rewards.own:length_guard`."""

from rewards.custom_rules import length_guard, stage_order

__all__ = ["length_guard", "stage_order"]
