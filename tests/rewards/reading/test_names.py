import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.reading.names import read_finding, read_list_of_findings


@pytest.mark.parametrize(
    "answer, reason",
    [
        ("", "empty"),
        ("Edema, " * 200, "too long: '1400 characters'"),
        ("Edema, no edema", "contradicts itself: 'Edema'"),
        ("Edema, No finding", "contradicts itself: 'No finding and Edema'"),
        ("possible edema", "hedges"),
        ("left, small", "names nothing"),
    ],
)
def test_an_unread_list_is_told_why(answer, reason):
    assert read_list_of_findings(answer).why_unread == reason


@given(st.lists(st.sampled_from(["Edema", "Effusion", "Mass", "Nodule"]), min_size=1, unique=True), st.data())
def test_places_and_sizes_name_nothing_more(names, data):
    words = st.sampled_from(["left", "small", "right lower lobe", "mild", "8 mm", "bilateral", "etc."])
    items = [f"{name}, {data.draw(words)}" for name in names]
    assert read_list_of_findings("; ".join(items)).value == tuple(sorted(names))


@given(st.permutations(["Edema", "Effusion", "Mass", "Pneumothorax"]))
def test_a_denied_list_denies_every_member(names):
    first, second, third, asserted = names
    denied = f"No {first}, {second} or {third}"
    assert read_list_of_findings(denied).value == ()
    assert read_list_of_findings(f"{asserted}. {denied}.").value == (asserted,)


def test_the_one_finding_of_a_name():
    assert read_finding("small left effusion") == "Effusion" and read_finding("no effusion") == "no effusion"
