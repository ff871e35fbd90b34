import pytest
from pydantic import ValidationError

from curriculum.strict import Strict


class Setting(Strict):
    rate: float = 1.0


def test_unknown_keys_and_changes_are_refused():
    with pytest.raises(ValidationError, match="rat\n.*Extra inputs are not permitted"):
        Setting(rat=2.0)
    setting = Setting(rate=2.0)
    with pytest.raises(ValidationError, match="frozen"):
        setting.rate = 3.0
    assert setting == Setting(rate=2.0) and hash(setting) == hash(Setting(rate=2.0))
