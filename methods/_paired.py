"""Steps on a batch of forget rows and a batch of retained rows at once."""

from collections.abc import Callable, Iterator

from forget_audit.training.loop import Index


def recycled(deal: Callable[[], Iterator[Index]]) -> Iterator[Index]:
    """Yield batches without end, pass after pass, each dealt anew."""
    while True:
        yield from deal()
