"""A fuzzed front door: whatever files and requests hold, the answer is one line, and nothing is left behind.

`make fuzz` tries new inputs for ten minutes; `test_front_door.py` tries the same few hundred in every run of the tests.
"""
