"""What vLLM only does on GPUs, on a CPU: its second model runner, and memory that is lost while an engine sleeps."""

from tests.support.gpu_paths import interpreted_triton  # noqa: F401 - before any module here imports vLLM
