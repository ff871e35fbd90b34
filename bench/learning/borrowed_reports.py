"""Films of NIH ChestX-ray14 with reports of Open-i, and two cold-start sets about them: bare traces, and written ones.

    python -m bench.learning.borrowed_reports FILMS LABELS REPORTS GOLD OUT

NIH's films have no reports. Here each film borrows the text of an Open-i report with the same findings, of those with
all of its sections. So a trace says of a film what is true of its labels, in words that a radiologist wrote, though
about somebody else: places and sizes in it are not this film's. OUT/template has the importer's bare traces ("Mass is
seen."), OUT/report those of `curlvpr data traces --writer report`, for the same train tasks. Validation and test tasks
are the same in both.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq

from bench.learning.commands import curlvpr
from curriculum.taskset import read_tasks, write_tasks

FAMILIES = ("binary", "single_choice", "multiple_choice", "diagnosis")
FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)


def reports_by_findings(reports: Path, gold: Path) -> dict[frozenset[str], list[str]]:
    """The texts of reports, by what their labels say is there."""
    found = defaultdict(list)
    for row in csv.read_csv(gold).to_pylist():
        root = ElementTree.parse(next(reports.rglob(f"{row['filename'].removeprefix('CXR')}.xml"))).getroot()
        texts = {one.get("Label", ""): " ".join((one.text or "").split()) for one in root.iter("AbstractText")}
        sections = [f"{name.title()}: {texts[name]}" for name in ("FINDINGS", "IMPRESSION") if texts.get(name)]
        if len(sections) == 2:
            found[frozenset(name for name in FINDINGS if row[name])].append("\n".join(sections))
    return found


def findings_by_film(labels: Path) -> dict[str, frozenset[str]]:
    """What each film's labels say is there, by the film's name without its ending."""
    found = {}
    for row in pq.read_table(labels).to_pylist():
        values = {name: row[f"nih_{name}"] for name in FINDINGS}
        if None not in values.values():
            found[Path(row["file"]).stem] = frozenset(name for name, value in values.items() if value)
    return found


def main(films: Path, labels: Path, reports: Path, gold: Path, out: Path) -> None:
    plain = out / "plain"
    curlvpr("data", "import", "nih", "--images", films, "--labels", labels, "--out", plain)
    texts, findings = reports_by_findings(reports, gold), findings_by_film(labels)
    tasks = []
    for task in read_tasks(plain):
        film = Path(task.images[0]).stem
        choices = texts.get(findings.get(film, frozenset({"unknown"})), [])
        if task.family in FAMILIES and choices:
            rng = np.random.default_rng([int(digit) for digit in film if digit.isdigit()])
            tasks.append(task.model_copy(update={"report": choices[rng.integers(len(choices))]}))
    write_tasks(tasks, out / "borrowed")
    curlvpr("data", "traces", out / "borrowed", "--out", out / "traced")
    traced = {task.id: task for task in read_tasks(out / "traced") if task.split == "train"}
    tested = [task for task in tasks if task.split != "train"]
    write_tasks([*traced.values(), *tested], out / "report")
    write_tasks([*(task for task in tasks if task.id in traced), *tested], out / "template")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
