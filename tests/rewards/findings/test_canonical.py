import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.labels import nih
from curriculum.phantoms import phantom
from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical


@pytest.mark.parametrize("name", sorted({*nih.FINDINGS, *phantom.FINDINGS, NO_FINDING}))
def test_a_name_of_a_task_set_is_its_own_in_any_spelling(name):
    plural = name + "es" if name.endswith("s") else name + "s"
    for written in (name, name.upper(), name.lower(), name.replace(" ", "_"), f"  {name.replace(' ', ' - ')} ", plural):
        assert canonical(written) == name


@pytest.mark.parametrize(
    "written, name",
    [
        ("pleural effusions", "Effusion"),
        ("Pulmonary oedema", "Edema"),
        ("enlarged heart", "Cardiomegaly"),
        ("masses", "Mass"),
        ("Pneumothoraces", "Pneumothorax"),
        ("infiltrates", "Infiltration"),
        ("hiatal hernias", "Hernia"),
        ("normal", NO_FINDING),
        ("No findings", NO_FINDING),
        ("no acute abnormalities", NO_FINDING),
        ("lung-nodule", "Nodule"),
        ("atelectases", "Atelectasis"),
        ("thickened pleura", "Pleural Thickening"),
    ],
)
def test_synonyms(written, name):
    assert canonical(written) == name


@pytest.mark.parametrize(
    "written, name",
    [("opacity", "opacity"), ("Some  MASS effect", "some mass effect"), ("no mass", "no mass"), ("", ""), ("s", "s")],
)
def test_other_names_are_equal_only_to_themselves(written, name):
    assert canonical(written) == name


@given(st.text())
def test_one_name_stays_one_name(text):
    assert canonical(canonical(text)) == canonical(text) == canonical(f" {text}\n")
