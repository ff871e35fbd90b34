"""A reward that costs next to nothing and differs in every group, for benches of what stands around it."""

import zlib


def luck(task: object, response: str, verdict: object) -> float:
    """A number in [0, 1) that hangs on the text alone."""
    return zlib.crc32(response.encode()) / 2**32
