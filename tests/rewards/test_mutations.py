"""No mutant of a reference earns more than it: a small part of the search of `python -m bench.reward_mutations`."""

from bench.reward_mutations import search


def test_no_mutant_outranks_the_reference():
    count, found = search(tasks=12, mutations=150)
    assert count == 1800 and found == []
