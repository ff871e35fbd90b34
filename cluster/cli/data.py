"""`curlvpr data`: task sets from your own copy of a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cluster.errors import UserError

if TYPE_CHECKING:
    from curriculum.importers.films import ImportSummary

data = typer.Typer(help="Task sets: import your own copy of a data set.", no_args_is_help=True)
importers = typer.Typer(
    help="Write a task set from a labelled set of films, or from ready questions.", no_args_is_help=True
)
data.add_typer(importers, name="import")

_Images = Annotated[Path, typer.Option(help="folder with the films, at any depth")]
_Out = Annotated[Path, typer.Option(help="folder for the task set")]
_Seed = Annotated[int, typer.Option(help="of the questions and, where the set has none, of the splits")]


@data.command()
def check(
    tasks: Annotated[Path, typer.Argument(help="a task set: its Parquet file, or the folder that holds tasks.parquet")],
    recipe: Annotated[Optional[Path], typer.Option(help="count tokens with its model, against its budget")] = None,
    html: Annotated[Optional[Path], typer.Option(help="write the summary to this page, with films to look at")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="no films on the page, for patient data")] = False,
) -> None:
    """Report every bad row with number and reason, and what the set holds. The exit code is 2 where a row is bad."""
    from cluster.config.recipe_file import load_recipe
    from cluster.standalone.data_check import check

    if recipe:
        from actors.runtime.environment import quiet_libraries

        quiet_libraries()
    sys.exit(0 if check(tasks, load_recipe(recipe) if recipe else None, html, not no_images) else 2)


@importers.command()
def nih(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="Data_Entry_2017.csv, or a Parquet file of labels")],
    out: _Out,
    boxes: Annotated[Optional[Path], typer.Option(help="BBox_List_2017.csv, beside the CSV")] = None,
    seed: _Seed = 0,
) -> None:
    """NIH ChestX-ray14: questions on findings, view, progression and, with boxes, place."""
    from curriculum.importers.nih import import_nih

    _import(import_nih, images=images, labels=labels, boxes=boxes, out=out, seed=seed)


@importers.command()
def chexpert(
    images: _Images,
    labels: Annotated[list[Path], typer.Option(help="train.csv, valid.csv; may be repeated")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """CheXpert: questions on findings, view and progression. Nothing is asked about what its labels leave uncertain."""
    from curriculum.importers.chexpert import import_chexpert

    _import(import_chexpert, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def mimic(
    images: _Images,
    tables: Annotated[Path, typer.Option(help="folder with mimic-cxr-2.0.0-metadata, -split and -chexpert .csv(.gz)")],
    out: _Out,
    reports: Annotated[Optional[Path], typer.Option(help="folder with the reports of MIMIC-CXR, at any depth")] = None,
    seed: _Seed = 0,
) -> None:
    """MIMIC-CXR-JPG: questions on findings, view, progression and, with reports, their sections."""
    from curriculum.importers.mimic import import_mimic

    _import(import_mimic, images=images, tables=tables, reports=reports, out=out, seed=seed)


@importers.command()
def padchest(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, plain or .gz")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """PadChest: questions on its own 190 findings and diagnoses, view and progression."""
    from curriculum.importers.padchest import import_padchest

    _import(import_padchest, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def openi(
    images: _Images,
    reports: Annotated[Path, typer.Option(help="folder with the XML reports, at any depth")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """Open-i (Indiana University): sections of the report, and whether a text belongs to a film."""
    from curriculum.importers.openi import import_openi

    _import(import_openi, images=images, reports=reports, out=out, seed=seed)


@importers.command("vqa-rad")
def vqa_rad(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="VQA_RAD Dataset Public.json")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """VQA-RAD: the radiologists' questions on its chest X-rays."""
    from curriculum.importers.vqa import VQA_RAD, import_vqa

    _import(partial(import_vqa, VQA_RAD), images=images, labels=labels, out=out, seed=seed)


@importers.command()
def slake(
    images: _Images,
    labels: Annotated[Path, typer.Option(help="folder with train.json, validate.json and test.json, or one of them")],
    out: _Out,
    seed: _Seed = 0,
) -> None:
    """SLAKE: the English questions on its chest X-rays."""
    from curriculum.importers.vqa import SLAKE, import_vqa

    _import(partial(import_vqa, SLAKE), images=images, labels=labels, out=out, seed=seed)


@importers.command()
def easyr1(
    labels: Annotated[Path, typer.Option(help="a .jsonl, .json or .parquet file, or a folder of them")],
    out: _Out,
    images: Annotated[
        Optional[Path], typer.Option(help="folder with the images, where the rows do not hold them")
    ] = None,
    seed: _Seed = 0,
) -> None:
    """EasyR1's or verl's layout, CX-Mind's gold traces among them: ready questions with options, yes or no, or names."""
    from curriculum.importers.easyr1 import import_chat

    _import(import_chat, images=images, labels=labels, out=out, seed=seed)


@importers.command()
def dicom(
    images: Annotated[Path, typer.Option(help="folder with the DICOM files, at any depth")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns image, labels, patient_id")],
    out: _Out,
    seed: Annotated[int, typer.Option(help="of the questions and splits, and the key of the hashed names")] = 0,
) -> None:
    """Your own DICOM films: made into PNG without anything that names a patient; questions on findings and view."""
    from curriculum.importers.dicom import import_dicom

    _import(import_dicom, images=images, labels=labels, out=out, seed=seed)


def _import(
    importer: Callable[..., ImportSummary], images: Path | None, out: Path, seed: int, **given: Path | list[Path] | None
) -> None:
    """Runs an importer, whose parameters are named as the command's options, and prints what it made.

    Raises:
        UserError: a path that is given is not there, or what it holds cannot be used.
    """
    from curriculum.taskset import TaskSetError

    if images and not images.is_dir():
        raise UserError(f"--images {images}: no such folder")
    for option, paths in given.items():
        for path in paths if isinstance(paths, list) else [paths]:
            if path and not path.exists():
                raise UserError(f"--{option} {path}: no such file or folder")
    try:
        summary = importer(images=images, out=out, seed=seed, **given)
    except TaskSetError as error:
        raise UserError(str(error)) from error
    print("\n".join(summary.lines()))
