"""What an engine's process is given. Engines themselves are tested in test_worker.py and test_family.py."""

from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import engine_environment


def test_an_engine_on_a_cpu_has_threads_of_its_own_and_one_on_a_gpu_vllms_defaults():
    told = engine_environment(RolloutConfig(threads=3, kv_cache_gib=2))
    assert told["OMP_NUM_THREADS"] == "3" and told["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert engine_environment(RolloutConfig(gpus=1)) == {}
