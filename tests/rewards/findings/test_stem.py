import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewards.findings.stem import stem

ENDINGS = """
    s es ies ied eed ed ing y ational tional enci anci izer bli abli alli entli eli ousli ization ation ator
    alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance
    ence er ic able ible ant ement ment ent ion tion sion ou ism ate iti ous ive ize e ll sses ss ally fully
"""
endings = st.sampled_from(ENDINGS.split())
letters = st.text(string.ascii_lowercase, max_size=7) | st.text("aeiouyltsz", max_size=5)


@given(st.builds(lambda *parts: "".join(parts), letters, endings | st.just(""), endings | st.just("")))
@example("skies")
@example("yyyys")
@example("7lls")
def test_the_stemmer_is_nltks(word):
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    assert stem(word) == porter.stem(word)
