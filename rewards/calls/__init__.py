"""Calls of own rules that wait: many at once, with limits, tries again, and a cache."""
