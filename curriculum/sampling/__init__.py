"""Adaptive sampling: of the next few tasks, the one that is expected to teach most. docs/learning.md explains it."""
