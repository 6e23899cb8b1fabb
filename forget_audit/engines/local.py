"""Tasks in this process one after the other, or in several processes of this machine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from joblib import Parallel, delayed

from forget_audit.engines.engine import Item, Result, Shared
from forget_audit.workers import overseen, served


@dataclass(frozen=True, kw_only=True)
class Local:
    """Runs tasks by joblib.

    Args:
        workers: Processes; with one, tasks run in this process, one after the other.
    """

    workers: int = 1

    @property
    def width(self) -> int:
        """How many tasks run side by side."""
        return self.workers

    def run(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Sequence[Item],
    ) -> Iterator[tuple[int, Result]]:
        """Yield the results with the positions of their items, each as soon as it is there.

        Args:
            function: Takes `shared` and one item.
            shared: What all items need; joblib maps large arrays into all processes.
            items: One a task.
        """
        calls = (
            delayed(served(_numbered))(function, shared, item, number)
            for number, item in enumerate(items)
        )
        with overseen():
            yield from Parallel(n_jobs=self.workers, return_as="generator_unordered")(calls)


def _numbered(
    function: Callable[[Shared, Item], Result], shared: Shared, item: Item, number: int
) -> tuple[int, Result]:
    return number, function(shared, item)
