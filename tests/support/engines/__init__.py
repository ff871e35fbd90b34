"""What tests of engines share: the model runner of GPUs, and memory that is lost in sleep, on a CPU; faults; probes."""

from tests.support.engines import second_runner  # noqa: F401 - before any module here imports vLLM
