"""The present version's answers to validation tasks. Each is asked once, whoever wants to know."""

from __future__ import annotations

from collections.abc import Collection

from cluster.measures import Result, Scores
from cluster.run.context import RunContext
from cluster.run.evaluation import answer, held_out, tested_families
from cluster.run.publishing import Publisher
from curriculum.sets.task_table import TaskTable
from curriculum.stages import GATE_FORMS


class ValidationAnswers:
    """Answers by family, as far as they were asked for.

    Args:
        tasks: of the validation split.
    """

    def __init__(self, context: RunContext, publisher: Publisher, tasks: TaskTable) -> None:
        self.recipe, self.workers, self.phases = context.recipe, context.workers, context.phases
        self.tasks, self.publisher = tasks, publisher
        self.forms = tested_families(context.recipe, context.tasks["train"])
        self._by_family: dict[str, list[Result]] = {}

    def clear(self) -> None:
        """Another version is asked from here on."""
        self._by_family.clear()

    def results(self, measure: str, families: Collection[str] = ()) -> list[Result]:
        """The answers to the tasks of a measure's form, which are asked now if they were not yet.

        Args:
            families: of the tasks; all of the form if empty.
        """
        of_form = [family for family, form in self.forms.items() if form == GATE_FORMS[measure]]
        asked = [family for family in of_form if not families or family in families]
        missing = [family for family in asked if family not in self._by_family]
        tasks = held_out(self.tasks, missing, self.recipe.evaluation.val_per_family)
        if tasks:
            self.publisher.publish()
            with self.phases.phase("evaluate"):
                answers = answer(tasks, self.workers.rollouts, self.workers.rewards)
            for result in answers:
                self._by_family.setdefault(result.task.family, []).append(result)
        return [result for family in asked for result in self._by_family.get(family, ())]

    def scores(self, measure: str, families: Collection[str] = ()) -> Scores:
        """The measures of `results`."""
        sources = self.recipe.data.sources is not None
        return Scores(self.results(measure, families), self.recipe.evaluation.bootstrap, sources=sources)
