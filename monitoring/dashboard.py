"""Writes grafana.json, the dashboard of a run: `python monitoring/dashboard.py` after a change here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RUN = '{run="$run"}'


def of_run(name: str) -> str:
    return f"ray_curlvpr_{name}{RUN}"


# Title, unit, what to look for, and each line's legend with its query.
PANELS: list[tuple[str, list[tuple[str, str, str, dict[str, str]]]]] = [
    (
        "What is learnt",
        [
            (
                "Reward and its parts",
                "none",
                "The parts show why the reward changes.",
                {part: of_run(part) for part in ("reward", "outcome", "format", "process", "reason")},
            ),
            (
                "Held-out scores",
                "none",
                "Validation decides the gates; test is scored where a stage starts and ends.",
                {
                    "{{split}} {{measure}}": (
                        'ray_curlvpr_score{run="$run", measure=~"closed_accuracy|open_micro_f1|format_rate"}'
                    )
                },
            ),
            (
                "Curriculum",
                "percentunit",
                "A stage that reaches 100 % ends at max_steps: its gate did not open.",
                {
                    "of the stage's steps": f"{of_run('stage_step')} / {of_run('max_steps')}",
                    "{{stage}}": of_run("stage"),
                },
            ),
            (
                "Entropy and KL",
                "none",
                "Entropy near 0: no exploration. KL far up: the policy diverges.",
                {
                    "entropy (nats)": of_run("entropy"),
                    "KL": of_run("kl"),
                    "KL to teachers": of_run("teacher_kl"),
                },
            ),
            (
                "Responses",
                "percentunit",
                "Flat groups teach nothing; cut-off responses end without an answer.",
                {
                    "flat groups": of_run("flat_groups"),
                    "truncated": of_run("truncated"),
                    "not scored": of_run("unscored"),
                    "clipped tokens": of_run("clipped"),
                    "accepted": of_run("accepted"),
                },
            ),
            ("Response length", "none", "", {"tokens": of_run("response_tokens")}),
        ],
    ),
    (
        "Whether the numbers agree",
        [
            (
                "Engine against learner",
                "none",
                "Log-probabilities of the same tokens; bfloat16 gives about 0.01 on average.",
                {"mean difference": of_run("logp_diff_mean"), "largest difference": of_run("logp_diff_max")},
            ),
            ("Gradient norm", "none", "", {"before clipping": of_run("grad_norm")}),
            (
                "Age of the trained tokens",
                "none",
                "In updates; at most max_staleness steps.",
                {"mean": of_run("staleness"), "oldest": of_run("staleness_max")},
            ),
            ("Loss", "none", "", {"loss": of_run("loss")}),
        ],
    ),
    (
        "How fast",
        [
            ("Trained tokens a second", "none", "", {"tokens/s": of_run("tokens_per_s")}),
            (
                "Use of the GPUs while learning",
                "percentunit",
                "MFU: what the step needs. HFU: with what is computed again. Empty where the peak is not known.",
                {"MFU": of_run("mfu"), "HFU": of_run("hfu")},
            ),
            (
                "Tokens a second by GPU",
                "none",
                "While it learns or writes; on CPUs by rank or worker.",
                {"learner": of_run("learner_tokens_per_s"), "rollout": of_run("rollout_tokens_per_s")},
            ),
            (
                "Who waits for whom",
                "percentunit",
                "Learner low: more rollout workers. Rollouts low: fewer.",
                {"learner busy": of_run("learner_busy"), "rollouts busy": of_run("rollout_busy")},
            ),
            (
                "Where the time goes",
                "percentunit",
                "Share of the last ten minutes.",
                {"{{phase}}": 'rate(ray_curlvpr_phase_seconds_total{run="$run"}[10m])'},
            ),
            (
                "Items a second by worker",
                "none",
                "Groups written, responses scored.",
                {"{{worker}}": 'rate(ray_curlvpr_worker_items_total{run="$run"}[5m])'},
            ),
        ],
    ),
    (
        "Engines, by vLLM",
        [
            (
                "Sequences",
                "none",
                "Waiting ones while few run: the KV cache is full.",
                {
                    "{{worker}} running": 'ray_vllm_num_requests_running{run="$run"}',
                    "{{worker}} waiting": 'ray_vllm_num_requests_waiting{run="$run"}',
                },
            ),
            (
                "KV cache in use",
                "percentunit",
                "",
                {"{{worker}}": 'ray_vllm_kv_cache_usage_perc{run="$run"}'},
            ),
            (
                "Tokens a second",
                "none",
                "Written, and read in prompts.",
                {
                    "{{worker}} written": 'rate(ray_vllm_generation_tokens_total{run="$run"}[1m])',
                    "{{worker}} read": 'rate(ray_vllm_prompt_tokens_total{run="$run"}[1m])',
                },
            ),
            (
                "Preemptions in an hour",
                "none",
                "Responses that were put off for want of KV cache, and read again.",
                {"{{worker}}": 'increase(ray_vllm_num_preemptions_total{run="$run"}[1h])'},
            ),
        ],
    ),
    (
        "Whether all is well",
        [
            ("Workers", "none", "", {"{{kind}} {{state}}": 'ray_curlvpr_workers{run="$run"} > 0'}),
            (
                "Worker deaths in an hour",
                "none",
                "",
                {"{{kind}}": 'increase(ray_curlvpr_worker_deaths{run="$run"}[1h])'},
            ),
            ("Groups", "none", "Issued = trained + dropped + in flight.", {"{{state}}": of_run("groups")}),
            ("Seconds since the last step", "s", "", {"run": f"time() - {of_run('step_ended_at_seconds')}"}),
        ],
    ),
    (
        "Machines",
        [
            ("CPU", "percent", "", {"{{instance}}": "ray_node_cpu_utilization"}),
            ("Memory", "bytes", "", {"{{instance}}": "ray_node_mem_used"}),
            ("Object store", "bytes", "", {"{{Location}}": "sum by (Location) (ray_object_store_memory)"}),
            (
                "GPU",
                "percent",
                "Empty if there is none.",
                {"{{instance}} {{GpuIndex}}": "ray_node_gpus_utilization"},
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it; data source and run are chosen at its top."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in PANELS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        )
        for number, (name, unit, words, queries) in enumerate(row):
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": name,
                    "description": words,
                    "datasource": source,
                    "gridPos": {"x": number % 3 * 8, "y": top + 1 + number // 3 * 8, "w": 8, "h": 8},
                    "fieldConfig": {
                        "defaults": {"unit": unit, "custom": {"lineWidth": 2, "spanNulls": False}},
                        "overrides": [],
                    },
                    "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                    "targets": [
                        {"refId": chr(ord("A") + i), "datasource": source, "expr": query, "legendFormat": legend}
                        for i, (legend, query) in enumerate(queries.items())
                    ],
                }
            )
        top += 1 + 8 * -(-len(row) // 3)
    run = {
        "name": "run",
        "label": "run",
        "type": "query",
        "datasource": source,
        "refresh": 2,
        "sort": 2,
        "query": {"query": "label_values(ray_curlvpr_step, run)", "refId": "run"},
    }
    return {
        "uid": "curlvpr-run",
        "title": "curlvpr run",
        "tags": ["curlvpr", "ray"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "panels": panels,
        "templating": {
            "list": [{"name": "source", "label": "data source", "type": "datasource", "query": "prometheus"}, run]
        },
    }


if __name__ == "__main__":
    Path(__file__).with_name("grafana.json").write_text(
        json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
