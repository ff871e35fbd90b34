"""Faults that a user can mend, told in one line."""


class UserError(Exception):
    """Something the user gave cannot be used. One line: what, where, what would be right."""
