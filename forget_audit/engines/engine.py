"""What an engine is: something that runs one function on many items, wherever it likes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function on items that do not depend on each other."""

    @property
    def width(self) -> int:
        """How many tasks run side by side."""
        ...

    def run(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Sequence[Item],
    ) -> Iterator[tuple[int, Result]]:
        """Yield the results with the positions of their items, each as soon as it is there.

        What `function` raises is raised here, as the same kind of exception.

        Args:
            function: Takes `shared` and one item; found by name in the other process, so no
                closure over data.
            shared: What all items need, such as the rows; handed over once, not to be changed.
            items: One a task.
        """
        ...
