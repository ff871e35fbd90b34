from cluster.pools.rule_faults import fault_lines
from rewards.verdict import Verdict


def verdict(*faults):
    why = tuple(f"{name}: {reason}" for name, reason in faults)
    return Verdict(1, 1, 1, 1, 0, 0, None, why=why, failed=tuple(name for name, _ in faults))


def test_each_rule_has_a_line_with_its_commonest_reason():
    late, odd = ("judge", "no answer within 60 s"), ("judge", "no score: '7?'")
    assert fault_lines([verdict(late), verdict(), verdict(odd), verdict(late, ("model", "gave nan")), verdict()]) == [
        "own rule judge has no value for 3 of 5 responses, so that it counts as 0; "
        "most often, 2 times: no answer within 60 s",
        "own rule model has no value for 1 of 5 responses, so that it counts as 0; most often: gave nan",
    ]


def test_without_faults_there_is_nothing_to_tell():
    assert fault_lines([verdict()]) == [] and fault_lines([]) == []
