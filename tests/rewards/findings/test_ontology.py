import pytest

from rewards.findings.ontology import END, expand, load_ontology
from rewards.findings.signs import is_sign


def test_phrases_expand():
    words = {"big": ["large", "wide"]}
    assert set(expand("{big} (heart|chest) [is] limit[s]", words)) == {
        tuple(f"{b} {n}{i} limit{s}".split())
        for b in words["big"]
        for n in ("heart", "chest")
        for i in ("", " is")
        for s in ("", "s")
    }
    with pytest.raises(ValueError, match="'huge'"):
        list(expand("{huge} heart", words))


def test_the_trie_leads_from_word_to_word_to_a_meaning():
    ontology = load_ontology()
    node = ontology.phrases
    for word in ["pleural", "effusion"]:
        node = node[word]
    assert node[END] == ("finding", "Effusion", ())
    assert ontology.phrases["effusions"] is ontology.phrases["effusion"]  # a first word is found in any spelling
    assert ontology.base_words["oedema"] == "edema" and "edema" not in ontology.base_words


def test_a_part_and_its_state_make_a_finding():
    ontology = load_ontology()
    for (part, _), name in ontology.pairs.items():
        if not is_sign(name):
            assert name in ontology.findings and name in ontology.of_part[part]


def test_a_finding_is_a_kind_of_itself_and_of_its_parents():
    findings = load_ontology().findings
    for name, finding in findings.items():
        assert finding.ancestors[0] == name
        for kind in finding.ancestors:
            assert set(findings[kind].ancestors) <= set(finding.ancestors)
