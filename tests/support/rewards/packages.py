"""Stand-ins for the packages of report metrics: the same names and arguments, and a metric that can be worked out.

The real packages download their models when they start. A stand-in keeps what the rules must get right: which
text is the answer, which device is asked for, and the faults of the package.
"""

import sys
from types import ModuleType, SimpleNamespace

from tests.support.rewards.reports import recall


def install(monkeypatch, name, **contents):
    module = ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def settings_of(made):
    """A class that keeps what it was constructed with in `made`."""

    class Package:
        def __init__(self, *args, **kwargs):
            made.append(SimpleNamespace(args=args, **kwargs))

    return Package


def per_pair(answers, reports):
    assert isinstance(answers, list) and isinstance(reports, list)
    return [recall(answer, report) for answer, report in zip(answers, reports, strict=True)]
