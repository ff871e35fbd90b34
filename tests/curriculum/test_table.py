from curriculum.table import Table


def test_columns_of_whole_numbers_are_known():
    rows = [("Mass", "1,605", "0.5", "3"), ("Edema", "12", "7", "")]
    assert Table("t", ("finding", "tasks", "share", "films"), rows).numbers == [False, True, False, False]
