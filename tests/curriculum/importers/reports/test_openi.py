import importlib.util
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from curriculum.importers.labels.nih import FINDINGS
from curriculum.importers.reports.openi import import_openi
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, draw_film

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <uId id="CXR{number}"/>
   <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="INDICATION">{indication}</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH><major>{term}</major></MeSH>
   {films}
</eCitation>
"""


def openi_set(folder: Path) -> None:
    texts = [
        ("normal", "Cough.", "Clear lungs.", "Normal chest."),
        ("Cardiomegaly/mild", "XXXX pain.", "", "Mild cardiomegaly."),
        ("normal", "", "The lungs are clear.", "No acute disease."),
        ("Opacity/lung/base/left", "", "", ""),
    ] * 8
    for number, (term, indication, findings, impression) in enumerate(texts, 1):
        films = [f"CXR{number}_IM-{number:04d}-{view}001" for view in (1, 2)] if number < len(texts) else []
        for film in films:
            draw_film(folder / f"images/{film}.png")
        (folder / "ecgen-radiology").mkdir(exist_ok=True)
        (folder / f"ecgen-radiology/{number}.xml").write_text(
            REPORT.format(
                number=number,
                term=term,
                indication=indication,
                findings=findings,
                impression=impression,
                films="".join(
                    f'<parentImage id="{film}"><caption>PA and Lateral</caption></parentImage>' for film in films
                ),
            )
        )


def test_openi(tmp_path):
    openi_set(tmp_path)
    summary = import_openi(tmp_path / "images", tmp_path / "ecgen-radiology", tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 62 and summary.skipped == {"of reports that name none": 1}
    first = by_family(tasks, "/CXR1_IM-0001-1001.png")
    assert first["findings"].gold == ("Clear lungs.",) and first["impression"].gold == ("Normal chest.",)
    assert first["findings_with_indication"].question.endswith("Indication: Cough.")
    assert set(by_family(tasks, "/CXR2_IM-0002-2001.png")) == {
        "impression",
        "impression_with_indication",
        "image_text_matching",
    }
    assert set(by_family(tasks, "/CXR3_IM-0003-1001.png")) == {"findings", "impression", "image_text_matching"}
    assert {(task.view, task.licence) for task in tasks} == {("", "CC BY-NC-ND 4.0")}
    assert "Indiana" in tasks[0].attribution
    assert len({task.patient for task in tasks}) == 24  # those with a text
    splits = defaultdict(set)
    for task in tasks:
        splits[task.patient].add(task.split)
    assert all(len(found) == 1 for found in splits.values())
    # Two normal reports say the same in other words: the text of one is never a wrong text for the other.
    normal = {"Normal chest.", "No acute disease."}
    wrong = [task for task in tasks if task.family == "image_text_matching" and task.gold == ("B",)]
    assert wrong and not any(
        {of_film, task.question.removeprefix("Does this text describe the film? ")} == normal
        for task in wrong
        for of_film in by_family(tasks, task.images[0])["impression"].gold
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ("<eCitation>", "of reports that are no readable XML (2.xml: "),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "of reports that are no readable XML (2.xml: "),
        ("", "of reports that are no readable XML (2.xml: "),
        ("<eCitation/>", 'no report of Open-i (one has an element such as <uId id="CXR1"/>) (2.xml)'),
    ],
)
def test_a_report_that_cannot_be_read_is_skipped_and_told(tmp_path, text, words):
    openi_set(tmp_path)
    before = import_openi(tmp_path, tmp_path, tmp_path / "before")
    (tmp_path / "ecgen-radiology/2.xml").write_text(text)
    summary = import_openi(tmp_path, tmp_path, tmp_path / "out")
    (line,) = [line for line in summary.lines() if "2.xml" in line]
    assert line.startswith("skipped 1 films ") and words in line
    assert 0 < summary.films < before.films


def report(number: int, findings: str, impression: str, label: str = "FINDINGS") -> str:
    return (
        f'<eCitation><uId id="CXR{number}"/><AbstractText Label="{label}">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">{impression}</AbstractText>'
        f'<MeSH><major>normal</major></MeSH><parentImage id="CXR{number}_1"/></eCitation>'
    )


@pytest.mark.parametrize(
    "mark", ["XXXX", "XXXX XXXX.", "___", "1. XXXX. 2. ____", "[**Name 1**]", "N/A", "", "xxxx, XXX"]
)
def test_a_section_of_marks_only_is_no_section(tmp_path, mark):
    for number in (1, 2):
        draw_film(tmp_path / f"img/CXR{number}_1.png")
    (tmp_path / "rep").mkdir()
    (tmp_path / "rep/1.xml").write_text(report(1, mark, mark))
    (tmp_path / "rep/2.xml").write_text(report(2, "The XXXX are clear.", mark, "Findings "))
    import_openi(tmp_path / "img", tmp_path / "rep", tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert {task.gold for task in tasks if task.family == "findings"} == {("The XXXX are clear.",)}
    assert all(task.images[0].endswith("CXR2_1.png") and task.family != "impression" for task in tasks)


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "files").mkdir()
    with pytest.raises(TaskSetError, match="no report is below this folder"):
        import_openi(tmp_path, tmp_path / "files", tmp_path / "out")


def test_the_real_reports_of_openi(tmp_path):
    spec = importlib.util.find_spec("torchxrayvision")
    archive = Path(spec.submodule_search_locations[0]) / "data/NLMCXR_reports.tgz" if spec else Path("absent")
    if not archive.is_file():
        pytest.skip("the real reports come with torchxrayvision, which is not installed")
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers() if member.name.endswith("1.xml")]
        file.extractall(tmp_path, members, filter="data")
    films = Counter()
    for path in (tmp_path / "ecgen-radiology").iterdir():
        for part in path.read_text().split('<parentImage id="')[1:]:
            film = part.partition('"')[0]
            films[film] += 1
            (tmp_path / f"{film}.png").touch()
    summary = import_openi(tmp_path, tmp_path, tmp_path / "out")
    assert summary.films == films.total() > 700 and not summary.missing
    impressions = [task.gold[0] for task in read_tasks(tmp_path / "out") if task.family == "impression"]
    assert len(impressions) > 0.95 * summary.films and not any("<" in text for text in impressions)


def labels_file(folder, changed=("", "")):
    names = [name.replace(" ", "_") for name in FINDINGS]
    rows = ["filename," + ",".join([*names, "normal"])]
    for number in range(1, 33):
        cells = ["1" if name == "Cardiomegaly" and number % 4 == 2 else "0" for name in names]
        rows.append(f"CXR{number}," + ",".join([*cells, str(int(number % 4 != 2))]))
    (folder / "labels.csv").write_text("\n".join(rows).replace(*changed))
    return folder / "labels.csv"


def test_labels_add_questions_about_findings_and_the_report_stays_with_every_task(tmp_path):
    openi_set(tmp_path)
    import_openi(tmp_path / "images", tmp_path / "ecgen-radiology", tmp_path / "out", labels_file(tmp_path))
    tasks = read_tasks(tmp_path / "out")
    second = by_family(tasks, "/CXR2_IM-0002-1001.png")
    assert (
        second["diagnosis"].gold == ("Cardiomegaly",)
        and by_family(tasks, "CXR1_IM-0001-1001.png")["diagnosis"].gold == ()
    )
    assert {task.report for task in second.values()} == {"IMPRESSION: Mild cardiomegaly."}
    assert (
        by_family(tasks, "CXR1_IM-0001-1001.png")["binary"].report
        == "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal chest."
    )


def test_a_label_that_is_none_is_told(tmp_path):
    openi_set(tmp_path)
    with pytest.raises(TaskSetError, match=r"labels.csv: row 1 .*Cardiomegaly is '2'; it must be 0 or 1"):
        path = labels_file(tmp_path, ("CXR2,0,1", "CXR2,0,2"))
        import_openi(tmp_path / "images", tmp_path / "ecgen-radiology", tmp_path / "out", path)


def test_without_films_the_texts_are_asked_about(tmp_path):
    openi_set(tmp_path)
    for path in (tmp_path / "ecgen-radiology").iterdir():
        if int(path.stem) % 4:  # the set repeats four texts; a text is asked about once
            path.write_text(path.read_text().replace('"IMPRESSION">', f'"IMPRESSION">Case {path.stem}. '))
    summary = import_openi(None, tmp_path / "ecgen-radiology", tmp_path / "out", labels_file(tmp_path))
    tasks = list(read_tasks(tmp_path / "out"))
    assert {task.family for task in tasks} == {"report_binary", "report_findings"}
    assert all(task.images == () and task.licence == "CC BY-NC-ND 4.0" for task in tasks)
    assert {task.context for task in tasks if task.patient == "CXR2"} == {"Impression: Case 2. Mild cardiomegaly."}
    golds = {(task.patient, task.question): task.gold for task in tasks}
    assert golds["CXR2", "Does this report state Cardiomegaly?"] == ("A",)
    assert summary.skipped == {"without a text": 8}
    assert 8 < summary.films == len({task.patient for task in tasks}) <= 16  # eight with the finding, some without
    with pytest.raises(TaskSetError, match="without --images, --labels are needed"):
        import_openi(None, tmp_path / "ecgen-radiology", tmp_path / "out")
