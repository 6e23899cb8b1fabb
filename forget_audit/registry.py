"""Attacks, experiments and methods by name: one decorator each, filled by walking the rooms.

A new attack is one file in `attacks/` with the decorator `@attack`; nothing else is edited.
Third parties register the same way through the entry-point groups `forget_audit.attacks`,
`forget_audit.experiments` and `forget_audit.methods`.
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Literal, TypeVar

from forget_audit.contracts import Attack, AttackInfo, Method
from forget_audit.errors import PluginError, UnknownName
from forget_audit.trials import Experiment

Room = Literal["attacks", "experiments", "methods"]
AttackClass = TypeVar("AttackClass", bound=type[Attack])
ExperimentClass = TypeVar("ExperimentClass", bound=type[Experiment])
MethodClass = TypeVar("MethodClass", bound=type[Method])

_attacks: dict[str, type[Attack]] = {}
_experiments: dict[str, type[Experiment]] = {}
_methods: dict[str, type[Method]] = {}
_loaded: set[Room] = set()


def attack(cls: AttackClass) -> AttackClass:
    """Register an attack under `cls.info.name`."""
    if cls.info.name in _attacks:
        raise ValueError(f"two attacks are called {cls.info.name!r}")
    _attacks[cls.info.name] = cls
    return cls


def experiment(cls: ExperimentClass) -> ExperimentClass:
    """Register an experiment under `cls.info.name`."""
    if cls.info.name in _experiments:
        raise ValueError(f"two experiments are called {cls.info.name!r}")
    _experiments[cls.info.name] = cls
    return cls


def method(cls: MethodClass) -> MethodClass:
    """Register an unlearning method under `cls.info.name`."""
    if cls.info.name in _methods:
        raise ValueError(f"two methods are called {cls.info.name!r}")
    _methods[cls.info.name] = cls
    return cls


def attacks() -> Mapping[str, type[Attack]]:
    """Return all attacks by name, sorted."""
    _load("attacks")
    return MappingProxyType(dict(sorted(_attacks.items())))


def make_method(
    name: str, preset: str | None = None, options: Mapping[str, object] = MappingProxyType({})
) -> Method:
    """Return the method called `name`, with the settings of a preset, and then `options`.

    Raises:
        UnknownName: If there is no such method, preset or option.
    """
    kind = get_method(name)
    if preset is not None and preset not in kind.info.presets:
        raise UnknownName(unknown("preset", preset, kind.info.presets))
    settings = kind.info.presets[preset] if preset is not None else {}
    taken = inspect.signature(kind).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        for option in options:
            if option not in taken:
                raise UnknownName(unknown("option", option, taken))
    return kind(**{**settings, **options})


def chosen_attacks(names: Iterable[str] | None) -> list[type[Attack]]:
    """Return the attacks called `names`; all if none are given.

    Raises:
        UnknownName: With the nearest name.
    """
    return [*attacks().values()] if names is None else [get_attack(name) for name in names]


def experiments() -> Mapping[str, type[Experiment]]:
    """Return all experiments on methods by name, sorted."""
    _load("experiments")
    return MappingProxyType(dict(sorted(_experiments.items())))


def cards() -> Mapping[str, AttackInfo]:
    """Return the identity cards of all attacks and experiments by name, attacks first."""
    ours = {name: kind.info for name, kind in attacks().items()}
    return MappingProxyType(ours | {name: kind.info for name, kind in experiments().items()})


def get_card(name: str) -> AttackInfo:
    """Return the identity card of the attack or experiment called `name`.

    Raises:
        UnknownName: With the nearest name.
    """
    found = cards()
    if name not in found:
        raise UnknownName(unknown("attack", name, found))
    return found[name]


def get_experiment(name: str) -> type[Experiment]:
    """Return the experiment called `name`.

    Raises:
        UnknownName: With the nearest name.
    """
    found = experiments()
    if name not in found:
        raise UnknownName(unknown("experiment", name, found))
    return found[name]


def methods() -> Mapping[str, type[Method]]:
    """Return all unlearning methods by name, sorted."""
    _load("methods")
    return MappingProxyType(dict(sorted(_methods.items())))


def get_attack(name: str) -> type[Attack]:
    """Return the attack called `name`.

    Raises:
        UnknownName: With the nearest name.
    """
    found = attacks()
    if name not in found:
        raise UnknownName(unknown("attack", name, found))
    return found[name]


def get_method(name: str) -> type[Method]:
    """Return the unlearning method called `name`.

    Raises:
        UnknownName: With the nearest name.
    """
    found = methods()
    if name not in found:
        raise UnknownName(unknown("method", name, found))
    return found[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is no known `kind`, with the nearest name and all that there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}"


def _load(room: Room) -> None:
    if room in _loaded:
        return
    package = importlib.import_module(f"forget_audit.{room}")
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"forget_audit.{room}.{module}")
    for entry in sorted(entry_points(group=f"forget_audit.{room}"), key=lambda e: e.name):
        _plug_in(entry, room)
    _loaded.add(room)


def _plug_in(entry: EntryPoint, room: Room) -> None:
    """Load what another package brings; whatever goes wrong there is named as its fault."""
    place = f"entry point {entry.name} = {entry.value} of group forget_audit.{room}"
    package = entry.dist.name if entry.dist else "an unnamed package"
    try:
        found = entry.load()
    except Exception as error:
        raise PluginError(
            f"{place} cannot be loaded ({type(error).__name__}: {error}); mend or uninstall "
            f"{package}"
        ) from error
    known: dict[Room, Mapping[str, object]] = {
        "attacks": _attacks,
        "experiments": _experiments,
        "methods": _methods,
    }
    if isinstance(found, type) and found not in known[room].values():
        raise PluginError(
            f"{place} is not registered; put the decorator @{room.removesuffix('s')} of "
            f"forget_audit.registry on the class, or uninstall {package}"
        )
