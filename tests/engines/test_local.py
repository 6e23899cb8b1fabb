"""Tasks in this process and in several: results with their positions, errors as they are."""

import os

import pytest

from forget_audit.engines.local import Local


def shifted(shared: int, item: int) -> tuple[int, int]:
    return shared + item, os.getpid()


def refused(shared: str, item: int) -> int:
    if item == 1:
        raise KeyError(f"{shared} {item}")
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_comes_with_the_position_of_its_item(workers: int) -> None:
    engine = Local(workers=workers)
    found = dict(engine.run(shifted, 10, [5, 7, 9]))
    assert {place: value for place, (value, _) in found.items()} == {0: 15, 1: 17, 2: 19}
    here = {process for _, process in found.values()} == {os.getpid()}
    assert here == (workers == 1)
    assert engine.width == workers
    assert not list(engine.run(shifted, 10, []))


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_a_task_are_raised_as_they_are(workers: int) -> None:
    with pytest.raises(KeyError, match="shared 1"):
        list(Local(workers=workers).run(refused, "shared", [0, 1, 2]))


def test_a_result_is_there_before_the_next_task_has_run() -> None:
    begun: list[int] = []
    results = Local().run(lambda shared, item: shared.append(item), begun, [0, 1])
    next(results)
    assert begun == [0]
