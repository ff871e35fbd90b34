"""Buckets of weights, and the files that an engine reads."""

import torch
from safetensors.torch import load, load_file

from actors.weights.buckets import bucket_of, files_of

LARGE = torch.arange(300_000, dtype=torch.float32)


def test_a_bucket_is_a_safetensors_file():
    """To safetensors' own readers, of bytes and of files in memory; what is mapped stays when the next file comes."""
    buckets = [
        {
            "a": torch.tensor([True, False, True]),
            "b": torch.randn(3, 5),
            "c": torch.tensor(7.0),
            "d": torch.randn(3).bfloat16(),
        },
        {
            "e": torch.arange(100_000),
            "f": torch.randn(4, 6).T,
            "g": torch.randn(2, 2).half(),
            "h": torch.zeros(0),
            "i": torch.arange(3, dtype=torch.uint8),
            "j": torch.randn(1).double(),
            "k": torch.arange(3, dtype=torch.int32),
        },
    ]
    seen = [load_file(path) for path in files_of(map(bucket_of, buckets))]
    for tensors, mapped in zip(buckets, seen, strict=True):
        for found in (mapped, load(b"".join(bucket_of(tensors)))):
            assert found.keys() == tensors.keys()
            for name, value in found.items():
                assert value.dtype == tensors[name].dtype and torch.equal(value, tensors[name])


def test_tensors_that_lie_on_the_cpu_are_not_copied():
    assert bucket_of({"a": LARGE})[1].ctypes.data == LARGE.data_ptr()
