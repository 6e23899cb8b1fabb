"""Attacks and methods by name, and their classes by import."""

import importlib

import pytest

from forget_audit import registry
from forget_audit.errors import UnknownName


@pytest.mark.parametrize("room", ["attacks", "methods"])
def test_classes_can_be_imported_from_their_room(room: str) -> None:
    module = importlib.import_module(f"forget_audit.{room}")
    for name, cls in getattr(registry, room)().items():
        assert getattr(module, cls.__name__) is cls
        assert cls.info.name == name == cls.__module__.rpartition(".")[2]
    for missing in ("Nothing", "nothing", "_nothing"):
        with pytest.raises(AttributeError, match=f"has no attribute '{missing}'"):
            getattr(module, missing)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown method 'scrb'; did you mean 'scrub'"):
        registry.get_method("scrb")
    with pytest.raises(UnknownName, match=r"unknown attack 'zzz'\. Known: "):
        registry.get_attack("zzz")


def test_two_items_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two attacks are called 'lira'"):
        registry.attack(registry.get_attack("lira"))
    with pytest.raises(ValueError, match="two methods are called 'ssd'"):
        registry.method(registry.get_method("ssd"))
