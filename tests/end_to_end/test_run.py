"""A whole run on the real stack: Ray, vLLM, DeepSpeed."""

import json

import pyarrow.parquet as pq

from cluster.config.recipe_file import load_recipe
from tests.support.short_run import REPLACING, SHORT, SMOKE
from tests.support.whole_runs import events, same, weights


def test_stages_follow_each_other_in_one_run(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert [(s["name"], s["kind"], s["steps"], s["reason"]) for s in summary["stages"]] == [
        ("sft", "sft", 12, "maximum"),
        ("closed", "grpo", 2, "maximum"),
        ("open", "grpo", 2, "maximum"),
    ]
    for stage in summary["stages"]:
        for when in ("start", "end"):
            scores = stage["evaluation"][when]
            for name in ("closed_accuracy", "open_micro_f1", "format_rate"):
                low, high = scores["intervals"][name]
                assert 0 <= low <= scores[name] <= high <= 1
    first, second = summary["stages"][:2]
    assert first["evaluation"]["end"] == second["evaluation"]["start"]
    assert 0 < sum(v for k, v in summary["seconds"].items() if k != "all") <= summary["seconds"]["all"]


def test_ledger_balances_and_trains_every_group_once(run):
    groups = {
        event: [e["group"] for e in events(run) if e["event"] == event] for event in ("issued", "trained", "dropped")
    }
    assert len(groups["issued"]) == len(set(groups["issued"])) > 32
    assert sorted(groups["trained"] + groups["dropped"]) == sorted(groups["issued"])


def test_learner_and_rollouts_agree_on_every_token(run):
    rows = [
        r for r in pq.read_table(run / "metrics.parquet").to_pylist() if r["event"] == "step" and r["kind"] == "grpo"
    ]
    assert len(rows) == 4
    assert all(0 <= r["logp_diff_mean"] <= r["logp_diff_max"] < 1e-4 and r["ratio_diff_max"] < 1e-4 for r in rows)
    assert any(r["logp_diff_max"] > 0 for r in rows)  # it is measured, not assumed


def test_run_folder_holds_what_is_promised(run):
    assert any((run / "tensorboard").glob("events.*"))
    row = json.loads((run / "trajectories.jsonl").read_text().splitlines()[0])
    assert row["verdict"]["why"] and row["response"] and row["version"] >= 12
    assert load_recipe(run / "recipe.yaml") == load_recipe(SMOKE, [*SHORT, *REPLACING])
    whole = [path.name for path in sorted((run / "checkpoints").iterdir()) if (path / "manifest.json").is_file()]
    kept = [path.name for path in sorted((run / "checkpoints").iterdir()) if (path / "kept.json").is_file()]
    assert kept == ["step-0000012"] and whole == ["step-0000014", "step-0000016"]
    assert "Reward and its parts" in (run / "report.html").read_text(encoding="utf-8")
    assert "license_name" in (run / "model" / "README.md").read_text(encoding="utf-8")


def test_model_answers_under_transformers(run):
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(run / "model")
    model = AutoModelForImageTextToText.from_pretrained(run / "model")
    held = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): value
        for name, value in model.state_dict().items()
    }
    assert same(held, weights(run)), "the folder's weights are not the model's"
    image = Image.open(next((run / "data" / "images").glob("*.png"))).convert("RGB")
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Name all findings."}]}]
    inputs = processor(
        text=[processor.apply_chat_template(messages, add_generation_prompt=True)], images=[image], return_tensors="pt"
    )
    with torch.no_grad():
        assert model.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]
