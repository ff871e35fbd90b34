"""A reward that costs next to nothing and leaves no group flat, for benches of everything else."""

import zlib


def luck(task: object, response: str, verdict: object) -> float:
    """A number in [0, 1) that depends on the response's text only."""
    return zlib.crc32(response.encode()) / 2**32
