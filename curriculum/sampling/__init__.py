"""Adaptive sampling: of the next few tasks, the one that is expected to teach most. docs/sampling.md explains it."""
