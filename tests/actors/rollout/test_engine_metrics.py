"""vLLM's own metrics at the metrics port of the worker's node."""

import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from actors.model.encode import PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.worker import RolloutWorker
from actors.runtime.remote import wait_for
from actors.trajectory import Request
from actors.weights.version import Version


@pytest.mark.slow
def test_an_engines_numbers_are_at_the_port_with_run_and_worker(ray_session, tiny_model, phantom_tasks):
    told = {"disable_log_stats": False}
    config = RolloutConfig(cpus=0.5, max_response_tokens=24, max_model_tokens=256, engine=told)
    worker = (
        ray.remote(RolloutWorker)
        .options(name="night/rollout-7", num_cpus=0.5, max_concurrency=8)
        .remote(7, config, str(tiny_model), PromptConfig(), None, 1)
    )
    wait_for(worker.ready.remote(), 300, "the worker")
    stream = worker.generate.remote([Request("g", phantom_tasks[0], 3, 0)], 1.0, Version(0, 0))
    (_, group), *_ = [wait_for(ref, 120, "the worker") for ref in stream]
    written = sum(len(trajectory.ids) for trajectory in group.trajectories)
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline, found = time.monotonic() + 60, None
    while found is None and time.monotonic() < deadline:  # Ray tells its metrics every ten seconds
        time.sleep(1)
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r'^ray_vllm_generation_tokens_total\{(.*run="night".*)\} (\S+)$', text, re.MULTILINE)
    ray.kill(worker)
    assert found and 'worker="rollout-7"' in found[1] and float(found[2]) == written
    dashboard = (Path(__file__).parents[3] / "monitoring" / "grafana.json").read_text(encoding="utf-8")
    shown = set(re.findall(r"ray_vllm_\w+", dashboard))
    assert len(shown) > 4 and all(f"\n{name}{{" in text for name in shown - {"ray_vllm_num_preemptions_total"})
    assert re.search(r'^ray_vllm_num_requests_running\{.*worker="rollout-7".*\} 0', text, re.MULTILINE)
