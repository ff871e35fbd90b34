"""The label files of public data sets, two rows each, as the importers read them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.curriculum.importers.boxes import test_imagenome, test_ms_cxr, test_padchest_gr, test_rsna, test_vindr
from tests.curriculum.importers.labels import test_cxr_lt
from tests.curriculum.importers.labels.test_chexpert import HEADER as CHEXPERT
from tests.curriculum.importers.labels.test_mimic import LABELS as MIMIC_LABELS
from tests.curriculum.importers.labels.test_mimic import METADATA as MIMIC_METADATA
from tests.curriculum.importers.labels.test_mimic import REPORT as MIMIC_REPORT
from tests.curriculum.importers.labels.test_nih import HEADER as NIH
from tests.curriculum.importers.labels.test_padchest import HEADER as PADCHEST
from tests.curriculum.importers.questions import test_ehrxqa, test_gemex, test_mimic_vqa, test_rexvqa
from tests.curriculum.importers.questions.test_vqa import rad_row, slake_row
from tests.curriculum.importers.reports import test_radgraph
from tests.curriculum.importers.reports.test_openi import REPORT as OPENI
from tests.fuzz.corpus import cases
from tests.fuzz.door import Visit
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree
from tests.support.data_sets import png


@dataclass(frozen=True)
class Archive:
    """A data set in small.

    Attributes:
        name: of its importer.
        images: paths of its films.
        options: of the command, with the paths of `files`.
        files: its label files by path, as text.
        zipped: files that are packed with gzip after they were spoilt.
        rows: the rows of a JSON file, which are spoilt as a tree.
        seeds: more files of the first one's kind.
    """

    name: str
    images: Sequence[str]
    options: Sequence[str]
    files: Mapping[str, str]
    zipped: Sequence[str] = ()
    rows: Sequence[dict] = ()
    seeds: Sequence[bytes] = field(default_factory=list)

    def odd(self, csv: Sequence[bytes], js: Sequence[bytes], xml: Sequence[bytes]) -> st.SearchStrategy:
        """Its files, one of them spoilt."""
        choices = []
        for name, content in self.files.items():
            pieces = js if name.endswith("json") else xml if name.endswith("xml") else csv
            seeds = [content.encode(), *self.seeds]
            choices.append(odd_bytes(seeds, [*pieces, b"\n"]).map(lambda spoilt, name=name: {name: spoilt}))
        if self.rows:
            name = next(iter(self.files))
            trees = odd_tree([list(self.rows)], JSON_VALUES)
            choices.append(trees.map(lambda rows: {name: json.dumps(rows).encode()}))
        return st.one_of(choices)

    def visit(self, spoilt: Mapping[str, bytes]) -> Visit:
        files = {name: content.encode() for name, content in self.files.items()} | spoilt
        for name in self.zipped:
            files[name] = gzip.compress(files[name], 1)
        films = {f"img/{name}": png(number) for number, name in enumerate(self.images)}
        images = ("--images", "img") if self.images else ()
        return Visit(("data", "import", self.name, *images, *self.options, "--out", "out"), {**films, **files})


def archives() -> list[Archive]:
    return [
        _nih(),
        _chexpert(),
        _padchest(),
        _mimic(),
        _openi(),
        _reports(),
        *_questions(),
        _dicom(),
        *_tables(),
        *_on_mimic(),
    ]


def _nih() -> Archive:
    lines = [
        f"{n:08d}_000.png,{label},0,{n},58,M,PA,2682,2749,0.143,0.143,\n"
        for n, label in enumerate(("No Finding", "Mass|Nodule"))
    ]
    boxes = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Mass,1,2,3,4\n"
    options = ("--labels", "labels.csv", "--boxes", "boxes.csv")
    files = {"labels.csv": NIH + "".join(lines), "boxes.csv": boxes}
    return Archive("nih", ["00000000_000.png", "00000001_000.png"], options, files)


def _chexpert() -> Archive:
    films = [f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg" for n in (1, 2)]
    lines = [f"{film},Female,58,Frontal,AP,1.0,,,,,-1.0,0.0{',' * 8}\n" for film in films]
    return Archive(
        "chexpert",
        films,
        ("--labels", "train.csv"),
        {"train.csv": CHEXPERT + "\n" + "".join(lines)},
        seeds=cases("import-chexpert-batches/*.csv"),
    )


def _padchest() -> Archive:
    labels = ("['normal']", "['cardiomegaly', 'pleural effusion']")
    lines = [
        f'{n},{n}.png,0,20140901,s,{n},1930.0,F,nan,PA,x,No,r,Physician,"{label}"\n' for n, label in enumerate(labels)
    ]
    options = ("--labels", "labels.csv.gz")
    files = {"labels.csv.gz": PADCHEST + "\n" + "".join(lines)}
    return Archive("padchest", ["0.png", "1.png"], options, files, zipped=["labels.csv.gz"])


def _mimic() -> Archive:
    labels = MIMIC_LABELS + "\n10000001,50000001,1.0,,0.0,-1.0" + "," * 10 + "\n"
    metadata = MIMIC_METADATA + "\naa,10000001,50000001,CHEST,PA,10,10,21800506,213014.531,a,b,Erect\n"
    files = {
        "tables/mimic-cxr-2.0.0-chexpert.csv": labels,
        "tables/mimic-cxr-2.0.0-metadata.csv": metadata,
        "tables/mimic-cxr-2.0.0-split.csv": "dicom_id,study_id,subject_id,split\naa,50000001,10000001,train\n",
        "reports/p10/p10000001/s50000001.txt": MIMIC_REPORT,
    }
    images = ["p10/p10000001/s50000001/aa.jpg"]
    return Archive("mimic", images, ("--tables", "tables", "--reports", "reports"), files)


def _openi() -> Archive:
    fields = dict(indication="Cough.", findings="Clear lungs.", impression="Normal chest.", term="normal")
    film = "CXR1_IM-0001-1001"
    image = f'<parentImage id="{film}"><caption>PA</caption></parentImage>'
    report = OPENI.format(number=1, films=image, **fields)
    return Archive(
        "openi",
        [f"{film}.png"],
        ("--reports", "reports"),
        {"reports/1.xml": report},
        seeds=cases("import-openi-xxxx/rep/*.xml"),
    )


def _reports() -> Archive:
    rows = "a,Large effusion.,Effusion,p,train\nb,Clear.,No finding,q,test\nc,A mass.,Mass|Effusion,r,val\n"
    return Archive("reports", [], ("--labels", "r.csv"), {"r.csv": "id,report,labels,patient_id,split\n" + rows})


def _questions() -> list[Archive]:
    rad = [
        rad_row(0),
        rad_row(2, question="AP or PA film?", answer="PA"),
        rad_row(4, question="What?", answer="Edema", answer_type="OPEN"),
    ]
    slake = [slake_row(0), slake_row(1, answer="Lung")]
    return [
        Archive(
            "vqa-rad", [row["image_name"] for row in rad], ("--labels", "q.json"), {"q.json": json.dumps(rad)}, rows=rad
        ),
        Archive(
            "slake",
            [row["img_name"] for row in slake],
            ("--labels", "train.json"),
            {"train.json": json.dumps(slake)},
            rows=slake,
        ),
    ]


def _dicom() -> Archive:
    labels = "image,labels,patient_id,split\na.dcm,Mass|Edema,p,train\nb.dcm,No Finding,q,test\n"
    return Archive(
        "dicom",
        ["a.dcm", "b.dcm"],
        ("--labels", "labels.csv"),
        {"labels.csv": labels},
        seeds=cases("dicom-one-bad-film/*.csv"),
    )


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as a CSV file with the columns of all of them."""
    file = io.StringIO()
    writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _tables() -> list[Archive]:
    sizes = [dict(image_id=name, dim0=1000, dim1=500) for name in "ab"]
    vindr = {"annotations_train.csv": test_vindr.TRAIN_BOXES, "image_labels_train.csv": test_vindr.TRAIN_LABELS}
    vindr["s.csv"] = sizes
    lt = [test_cxr_lt.row(f"f{n}", name, split="train") for n, name in enumerate(("Edema", "Mass", "Normal"))]
    gr = test_padchest_gr.STUDIES
    patients = [
        dict(StudyID=f"s{n}", PatientID=n, split="train", PatientSex_DICOM="F", PatientAge=n) for n in (1, 2, 3)
    ]
    rsna = {"labels.csv": test_rsna.LABELS, "classes.csv": test_rsna.CLASSES}
    return [
        Archive(
            "vindr",
            ["a.png", "b.png"],
            (
                "--labels",
                "annotations_train.csv",
                "--labels",
                "image_labels_train.csv",
                "--sizes",
                "s.csv",
                "--uncertain",
            ),
            {name: _csv(rows) for name, rows in vindr.items()},
        ),
        Archive("rsna", ["aa.png", "bb.png"], ("--labels", "labels.csv", "--classes", "classes.csv"), rsna),
        Archive(
            "siim", ["1.png", "2.png"], ("--labels", "l.csv"), {"l.csv": "ImageId, EncodedPixels\n1, 9 9 9 9\n2, -1\n"}
        ),
        Archive("ms-cxr", ["aa.jpg", "bb.jpg"], ("--labels", "l.csv"), {"l.csv": _csv(test_ms_cxr.ROWS)}),
        Archive("cxr-lt", [f"f{n}.jpg" for n in range(3)], ("--labels", "l.csv"), {"l.csv": _csv(lt)}),
        Archive(
            "padchest-gr",
            [study["ImageID"] for study in gr],
            ("--reports", "r.json", "--table", "table.csv"),
            {"r.json": json.dumps(gr), "table.csv": _csv(patients)},
            rows=gr,
        ),
    ]


def _on_mimic() -> list[Archive]:
    film = dict(dicom_id="aa", subject_id=10000001, study_id=50000001, ViewPosition="PA", Rows=200, Columns=100)
    tables = {
        "tables/mimic-cxr-2.0.0-metadata.csv": _csv([film | dict(StudyDate=21800506, StudyTime=213014.531)]),
        "tables/mimic-cxr-2.0.0-split.csv": _csv([dict(dicom_id="aa", split="train")]),
    }
    films, with_tables = ["aa.jpg", "deid_png/GRDN1/a/1.png"], ("--tables", "tables")
    rows = {
        "mimic-cxr-vqa": test_mimic_vqa.ROWS[:2],
        "ehrxqa": test_ehrxqa.ROWS[:3],
        "gemex": test_gemex.LINES[:3],
    }
    graph = json.dumps(test_imagenome.GRAPHS["aa"])
    return [
        *(
            Archive(
                name, films, ("--labels", "q.json", *with_tables), {"q.json": json.dumps(of_set), **tables}, rows=of_set
            )
            for name, of_set in rows.items()
        ),
        Archive("rexvqa", films, ("--labels", "q.json"), {"q.json": json.dumps(test_rexvqa.QUESTIONS)}),
        Archive(
            "radgraph",
            films,
            ("--graphs", "g.json", *with_tables),
            {"g.json": json.dumps(test_radgraph.GRAPHS), **tables},
        ),
        Archive("imagenome", films, ("--graphs", "g", *with_tables), {"g/aa_SceneGraph.json": graph, **tables}),
    ]
