import pytest

from actors.model.flops.gpus import peak_of


@pytest.mark.parametrize(
    "name, teraflops",
    [
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA B200", 2250),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", 70),
        ("NVIDIA A10", 125),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("H100", 989.4),
        ("A100-80G", 312),
    ],
)
def test_a_gpu_is_known_by_the_names_that_cuda_and_ray_give_it(name, teraflops):
    assert peak_of(name).flops == teraflops * 1e12


@pytest.mark.parametrize(
    "name", ["", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA GeForce RTX 4090 Laptop GPU", "Tesla V100-SXM2-16GB"]
)
def test_a_part_of_a_gpu_and_one_without_bfloat16_are_not(name):
    assert peak_of(name) is None


def test_the_memory_of_an_a100_is_told_by_its_size():
    assert peak_of("NVIDIA A100-SXM4-80GB").bandwidth > peak_of("NVIDIA A100-SXM4-40GB").bandwidth
