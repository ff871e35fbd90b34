"""What GPUs can do at most: dense products in bfloat16, and reading their memory. From NVIDIA's data sheets; where
these give a product's speed with sparsity, it is halved.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Peak(NamedTuple):
    """`flops`: of dense products in bfloat16, in FLOP/s. `bandwidth`: of memory, in bytes/s."""

    flops: float
    bandwidth: float


PEAKS = {
    "A10": Peak(125e12, 600e9),
    "A10G": Peak(70e12, 600e9),
    "A30": Peak(165e12, 933e9),
    "A40": Peak(149.7e12, 696e9),
    "A100": Peak(312e12, 1555e9),
    "A100 80GB": Peak(312e12, 1935e9),
    "A100 80G": Peak(312e12, 1935e9),
    "H100": Peak(989.4e12, 3350e9),
    "H100 PCIE": Peak(756e12, 2000e9),
    "H100 NVL": Peak(835.5e12, 3900e9),
    "H200": Peak(989.4e12, 4800e9),
    "H200 NVL": Peak(835.5e12, 4800e9),
    "GH200": Peak(989.4e12, 4000e9),
    "B200": Peak(2250e12, 7700e9),
    "L4": Peak(121e12, 300e9),
    "L40": Peak(181e12, 864e9),
    "L40S": Peak(362e12, 864e9),
    "RTX 3090": Peak(71e12, 936e9),
    "RTX 4090": Peak(165.2e12, 1008e9),
    "RTX 5090": Peak(209.5e12, 1792e9),
}
"""By the words that CUDA's and Ray's names of a GPU contain."""
OTHER = {"MIG", "LAPTOP"}  # part of a GPU, or a slower one of the same name


def peak_of(name: str) -> Peak | None:
    """The peak of a GPU by its name, such as "NVIDIA H100 80GB HBM3" or "H100"; None if it is not known."""
    words = set(re.findall(r"[A-Z0-9]+", name.upper()))
    if words & OTHER:
        return None
    fitting = [known for known in PEAKS if set(known.split()) <= words]
    return PEAKS[max(fitting, key=len)] if fitting else None
