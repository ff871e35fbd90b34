"""Runs all comparisons with peers and draws the table and the figure of docs/performance.md from their results.

    python -m bench.performance [NAME ...]     runs these, or all, and draws; all: half an hour on two quiet cores
    python -m bench.performance --draw         only draws

docs/performance.json keeps the last result of each comparison, with its command, the machine, and the machine's load
average before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RECORDS, PAGE, FIGURE = DOCS / "performance.json", DOCS / "performance.md", DOCS / "images" / "performance.png"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
LIMIT_S = 3600.0
Records = dict[str, dict[str, Any]]

POINT = ["bench.learner", "--tasks", "8", "--passes", "3"]
CURVES = {  # of the learner: the size that grows, its values, POINT's own value, and the options for another value
    "longest response, tokens": ((128, 512, 1024), 512, lambda n: ["--lengths", "16", str(n)]),
    "responses in a group": ((2, 8, 16), 8, lambda n: ["--group", str(n), "--tasks", str(64 // n)]),
    "hidden size of the model": ((128, 256, 512), 128, lambda n: ["--hidden", str(n)]),
}
ONE_WORKER = [
    *("--set", "rollout.workers=1"),
    *("--set", "rollout.threads=2"),
    *("--set", "learner.workers=1"),
    *("--set", "learner.threads=2"),
]
RUNS: dict[str, list[str]] = {
    "end_to_end": ["bench.end_to_end"],
    "end_to_end_one_worker": ["bench.end_to_end", "--shapes", "64x96", *ONE_WORKER],
    "learner": ["bench.learner"],
    "logits_memory": ["bench.logits_memory"],
    "rollout": ["bench.rollout"],
    "transport": ["bench.transport"],
    "learner_point": POINT,
}
for size, (sizes, own_size, size_options) in CURVES.items():
    RUNS |= {f"{size}: {n}": [*POINT, *size_options(n)] for n in sizes if n != own_size}
TARGETS = {"64x96": "1.0", "256_spread": "1.7"}  # end to end
SHAPES = {
    "64x96": "64 completions of up to 96 tokens a step",
    "256_spread": "256 completions of 16 to 512 tokens a step",
}


def run(name: str) -> dict[str, Any]:
    """Runs one comparison. Raises RuntimeError: it failed, or did not end within an hour."""
    load = os.getloadavg()[0]
    try:
        process = subprocess.run(
            [sys.executable, "-m", *RUNS[name], "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name} did not end within {LIMIT_S:g} s") from error
    if process.returncode:
        raise RuntimeError(f"{name} failed with code {process.returncode}; see its output above")
    return {
        "command": " ".join(["python -m", *RUNS[name], "--json"]),
        "machine": f"{cpu_name()}, {os.cpu_count()} cores",
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "result": json.loads(process.stdout.splitlines()[-1]),
    }


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


Row = tuple[str, str, str, str, str, str]  # comparison, against, ours, theirs, ratio with spread, target


def rows(records: Records) -> list[Row]:
    """The rows of the table, for the comparisons that have a result."""
    all_rows: list[Row] = []
    for shape in SHAPES:
        all_rows += end_to_end_row(records, "end_to_end", shape, TARGETS[shape])
        all_rows += end_to_end_row(
            records, "end_to_end_one_worker", shape, "", ", one worker of two threads of each kind"
        )
    if "learner" in records:
        all_rows.append(learner_row(records["learner"]["result"]))
    for shape in SHAPES:
        all_rows += learner_within_row(records, shape)
    for shape in SHAPES:
        all_rows += rollout_row(records, shape)
    if "transport" in records:
        all_rows.append(transport_row(records["transport"]["result"]))
    if "logits_memory" in records:
        all_rows.append(logits_memory_row(records["logits_memory"]["result"]))
    return all_rows


def end_to_end_row(records: Records, name: str, shape: str, target: str, extra: str = "") -> list[Row]:
    """The row of one shape; none without a result. The functions below do the same for their comparisons."""
    result = records[name]["result"] if name in records else {}
    if f"ratio_{shape}" not in result:
        return []
    return [
        (
            f"end to end, {SHAPES[shape]}{extra}",
            "TRL 1.16.0 GRPOTrainer",
            f"{result[f'ours_completions_per_s_{shape}']:.1f} completions/s",
            f"{result[f'trl_completions_per_s_{shape}']:.1f} completions/s",
            f"{spread(result[f'ratio_{shape}'], result[f'spread_{shape}'])}, {result[f'turns_{shape}']} turns each",
            target,
        )
    ]


def learner_row(result: dict[str, Any]) -> Row:
    return (
        "learner alone, 256 responses of 16 to 512 tokens",
        "padded DeepSpeed loop",
        f"{result['learner_tokens_per_s']:,} tokens/s",
        f"{result['padded_tokens_per_s']:,} tokens/s",
        spread(result["ratio"], (result["ratio_min"], result["ratio_max"])),
        "1.8",
    )


def learner_within_row(records: Records, shape: str) -> list[Row]:
    result = records["end_to_end"]["result"] if "end_to_end" in records else {}
    if f"learner_ratio_{shape}" not in result:
        return []
    return [
        (
            f"learner within these runs, {SHAPES[shape]}",
            "TRL 1.16.0 GRPOTrainer's",
            f"{result[f'ours_seconds_{shape}']['learn']:.2f} s a step",
            f"{result[f'trl_seconds_{shape}']['learn']:.2f} s a step",
            spread(result[f"learner_ratio_{shape}"], result[f"learner_spread_{shape}"]),
            "",
        )
    ]


def rollout_row(records: Records, shape: str) -> list[Row]:
    result = records["rollout"]["result"] if "rollout" in records else {}
    if f"ratio_{shape}" not in result:
        return []
    faster = result[f"raw_{shape}"]
    return [
        (
            f"rollout worker, {SHAPES[shape]}",
            "raw vLLM, the faster of its two ways",
            f"{result[f'worker_tokens_per_s_{shape}']:,} tokens/s",
            f"{result[f'{faster}_tokens_per_s_{shape}']:,} tokens/s",
            spread(result[f"ratio_{shape}"], result[f"spread_{shape}"]),
            "0.95",
        )
    ]


def transport_row(result: dict[str, Any]) -> Row:
    return (
        f"weights through the object store, {result['bytes'] / 2**30:.3g} GiB, warm",
        "memcpy of the same bytes",
        f"{result['memcpy_gb_per_s'] * result['ratio']:.1f} GB/s",
        f"{result['memcpy_gb_per_s']:.1f} GB/s",
        spread(result["ratio"], (result["ratio_min"], result["ratio_max"])),
        "0.5",
    )


def logits_memory_row(result: dict[str, Any]) -> Row:
    return (
        "peak memory, a response of 4,096 tokens, vocabulary 151,000",
        "the model without its logits",
        f"{result['peak_mib']:,} MiB",
        f"{result['without_logits_mib']:,} MiB",
        f"**{result['ratio']:.2f}**",
        "below 1.5",
    )


def spread(ratio: float, ends: Sequence[float]) -> str:
    return f"**{ratio:.2f}** [{ends[0]:.2f}, {ends[1]:.2f}]"


def table(records: Records) -> str:
    """Markdown: the table, and below it the machines and their load averages."""
    lines = ["| comparison | against | ours | theirs | ratio [spread] | target |", "|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows(records)]
    machines = sorted({record["machine"] for record in records.values()})
    loads = "; ".join(
        f"{name} {record['load'][0]:g} and {record['load'][1]:g}"
        for name, record in records.items()
        if name == "learner" or (name in RUNS and RUNS[name][0] != POINT[0])
    )
    note = f"Measured on {', '.join(machines)}. The machine's load average before and after each: {loads}."
    return "\n".join([*lines, "", *textwrap.wrap(note, 126), ""])


def figure(records: Records, path: Path) -> None:
    """Draws the learner's speed over that of the padded loop, with the range of the passes, as one size grows."""
    fig, axes = plt.subplots(1, len(CURVES), figsize=(11, 3.2), layout="constrained", sharey=True)
    for axis, (name_of_size, (values, own, _)) in zip(axes, CURVES.items(), strict=True):
        names = {n: "learner_point" if n == own else f"{name_of_size}: {n}" for n in values}
        points = [(n, records[name]["result"]) for n, name in names.items() if name in records]
        ratios = [result["ratio"] for _, result in points]
        ends = [
            [ratio - result["ratio_min"] for ratio, (_, result) in zip(ratios, points, strict=True)],
            [result["ratio_max"] - ratio for ratio, (_, result) in zip(ratios, points, strict=True)],
        ]
        axis.errorbar([n for n, _ in points], ratios, ends, fmt="o-", capsize=4)
        axis.axhline(1, color="C7", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [str(n) for n in values])
        axis.set_xlim(values[0] / 1.3, values[-1] * 1.3)
        axis.set_xlabel(name_of_size)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("our learner's tokens/s over\nthose of the padded loop")
    fig.savefig(path, dpi=150)
    plt.close(fig)


def draw(records: Records) -> None:
    """Writes the table into the page, and the figure. Raises ValueError: the page has no markers for the table."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} needs the lines {BEGIN.strip()} and {END.strip()}, with the table between them")
    PAGE.write_text(before + begin + "\n" + table(records) + "\n" + end + after)
    figure(records, FIGURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(RUNS)}")
    parser.add_argument("--draw", action="store_true", help="draw only, run nothing")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in RUNS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; choose from: {', '.join(RUNS)}")
    records: Records = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    names = [] if args.draw else args.names or list(RUNS)
    for name in names:
        print(f"{name}: python -m {' '.join(RUNS[name])}", file=sys.stderr, flush=True)
        records[name] = run(name)
        RECORDS.write_text(json.dumps({name: records[name] for name in RUNS if name in records}, indent=1) + "\n")
    draw(records)


if __name__ == "__main__":
    main()
