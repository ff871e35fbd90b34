"""What Prometheus, Grafana and the alerts see of a run.

With the real Prometheus, if it is installed (Debian's `prometheus`).
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
import yaml

from cluster.run.progress.prometheus import STEP_NUMBERS
from tests.support.short_run import wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
NEEDS_A_GPU = {"ray_node_gpus_utilization", "ray_curlvpr_mfu", "ray_curlvpr_hfu"}
OF_OTHER_STAGES = {"ray_curlvpr_accepted", "ray_curlvpr_teacher_kl"}  # than the run has
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)


def get(url, **parameters):
    with urllib.request.urlopen(
        f"{url}?{urllib.parse.urlencode(parameters)}" if parameters else url, timeout=10
    ) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def target(run):
    """Where the node of a run that this process holds offers its metrics."""
    node = ray.nodes()[0]
    target = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    trained = json.loads((run / "summary.json").read_text())["ledger"]["trained"]
    newest = re.compile(
        rf'^ray_curlvpr_groups{{(?=.*run="{run.name}")(?=.*state="trained").*}} {trained}(\.0)?$', re.MULTILINE
    )
    wait_until(lambda: newest.search(get(f"http://{target}/metrics")), 60)  # Ray tells its metrics every ten seconds
    return target


def queries():
    """Of the dashboard, by the title of the panel."""
    panels = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["panels"]
    return {(p["title"], t["legendFormat"]): t["expr"] for p in panels for t in p.get("targets", ())}


def rules():
    tree = yaml.safe_load((MONITORING / "rules.yml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule["expr"] for group in tree["groups"] for rule in group["rules"]}


def test_the_dashboard_is_what_its_source_says():
    made = subprocess.run(
        [sys.executable, "-c", "import json, dashboard; print(json.dumps(dashboard.dashboard()))"],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(made) == json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))


def test_every_metric_that_is_asked_for_exists(target):
    offered = set(re.findall(r"^(ray_\w+)(?=[{ ])", get(f"http://{target}/metrics"), re.MULTILINE))
    asked = {name for text in (*queries().values(), *rules().values()) for name in re.findall(r"\bray_\w+", text)}
    of_engines = {name for name in asked if name.startswith("ray_vllm_")}  # test_engine_metrics.py
    assert len(asked) > 20 and asked - offered - of_engines == NEEDS_A_GPU | OF_OTHER_STAGES


def test_every_number_of_a_run_is_told(run, target):
    numbers = {
        name
        for row in pq.read_table(run / "metrics.parquet").to_pylist()
        if row["event"] == "step"
        for name, value in row.items()
        if isinstance(value, (int, float)) and not name.startswith("seconds_")
    }
    assert numbers <= set(STEP_NUMBERS)
    lines = get(f"http://{target}/metrics").splitlines()

    def told(name, **labels):
        wanted = [f'{key}="{value}"' for key, value in {"run": run.name, **labels}.items()]
        [line] = [
            line
            for line in lines
            if line.startswith(f"ray_curlvpr_{name}{{") and all(label in line for label in wanted)
        ]
        return float(line.split()[-1])

    summary = json.loads((run / "summary.json").read_text())
    last = [row for row in pq.read_table(run / "metrics.parquet").to_pylist() if row["event"] == "step"][-1]
    for name in ("step", "version", "reward", "tokens_per_s", "entropy", "kl"):
        assert told(name) == pytest.approx(last[name], rel=1e-6)
    end = summary["stages"][-1]["evaluation"]["end"]
    assert told("score", measure="closed_accuracy", split="test") == pytest.approx(end["closed_accuracy"])
    assert told("groups", state="trained") == summary["ledger"]["trained"] and told("groups", state="in_flight") == 0
    assert told("stage", stage="open") == 1 and told("stage", stage="sft") == 0
    assert (
        told("worker_items_total", kind="rollout", worker="rollout-0") > summary["ledger"]["trained"]
    )  # and the evaluations'
    assert told("workers", kind="reward", state="ready") == 1


@needs_prometheus
def test_prometheus_answers_every_panel(run, target, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "nodes.json").write_text(json.dumps([{"targets": [target]}]))
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(tmp_path / "nodes.json")]
    config["rule_files"] = [str(MONITORING / "rules.yml")]
    config["global"]["scrape_interval"] = "1s"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'db'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )

    def ask(query):
        answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query", query=query.replace("$run", run.name)))
        return answer["data"]["result"]

    def ready():
        try:
            return ask(f'count_over_time(ray_curlvpr_step{{run="{run.name}"}}[1m]) > 3')
        except OSError:
            return False

    try:
        wait_until(ready, 60)
        empty = {title for title, query in queries().items() if not ask(query)}
        known = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"][0]["rules"]
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert {title for title, _ in empty} == {"GPU"}
    assert {rule["name"] for rule in known} == set(rules()) and all(rule["health"] != "err" for rule in known)


@needs_prometheus
def test_each_alert_comes_when_it_should_and_not_before():
    subprocess.run(["promtool", "test", "rules", Path(__file__).with_name("alerts.yml")], check=True)
    tested = Path(__file__).with_name("alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"alertname: (\w+)", tested)) == set(rules())
