"""How times grow with rows, models, parameters and references, with fitted exponents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.speed.clock import Json
from benchmarks.speed.store import Store


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One curve: a tool at some sizes of one of its options.

    Args:
        title: For people.
        tool: Its module.
        varied: Name of the option.
        values: Its values.
        tiny: Its values where only the working is shown.
        fixed: The other options.
        paths: Ways to train that are compared; none for attacks.
        label: What the horizontal axis shows.
        measured_as: What the tool reports for that axis, if it is not the option itself.
    """

    title: str
    tool: str
    varied: str
    values: tuple[int, ...]
    tiny: tuple[int, ...]
    fixed: Mapping[str, int]
    label: str
    paths: tuple[str, ...] = ("batched", "one by one")
    measured_as: str = ""


TRAINING = {"rows": 898, "models": 8, "hidden": 128, "epochs": 3, "repeats": 3}
AXES: Mapping[str, Axis] = {
    "models": Axis(
        title="training, by number of models",
        tool="scaling_training",
        varied="models",
        values=(4, 8, 16, 32, 64),
        tiny=(2, 4),
        fixed=TRAINING,
        label="models",
    ),
    "rows": Axis(
        title="training, by rows",
        tool="scaling_training",
        varied="rows",
        values=(500, 1000, 2000, 4000, 8000),
        tiny=(64, 128),
        fixed=TRAINING,
        label="rows of each model",
    ),
    "parameters": Axis(
        title="training, by parameters",
        tool="scaling_training",
        varied="hidden",
        values=(32, 128, 512, 2048),
        tiny=(8, 16),
        fixed=TRAINING,
        label="parameters of each model",
        measured_as="parameters",
    ),
    "references": Axis(
        title="attacks, by references",
        tool="scaling_attacks",
        varied="references",
        values=(10, 20, 40, 80),
        tiny=(5, 6),
        fixed={"rows": 200, "repeats": 3},
        label="retrained references",
        paths=(),
    ),
    "forget": Axis(
        title="attacks, by rows",
        tool="scaling_attacks",
        varied="rows",
        values=(100, 200, 400, 800, 1600),
        tiny=(40, 60),
        fixed={"references": 20, "repeats": 3},
        label="forget rows, and as many control rows",
        paths=(),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A measured curve.

    Args:
        path: How it was trained; empty for attacks.
        x: Sizes.
        cpu: Processor seconds.
        peak_mb: Peak memory of the process, if it is known.
        exponent: Of the power law through the points, least squares on logarithms.
    """

    path: str
    x: Sequence[float]
    cpu: Sequence[float]
    peak_mb: Sequence[float | None]
    exponent: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exponent", fitted_exponent(self.x, self.cpu))


def fitted_exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Return `b` of `y = a x^b`, by least squares on the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure(store: Store) -> Json:
    """Return all curves; each point is a process of its own."""
    found: Json = {}
    for name, axis in AXES.items():
        lines = [vars(_line(store, axis, path)) for path in axis.paths or ("",)]
        found[name] = {"title": axis.title, "label": axis.label, "lines": lines}
    return {"curves": found}


def _line(store: Store, axis: Axis, path: str) -> Line:
    values = axis.tiny if store.tiny else axis.values
    fixed = {**axis.fixed, **({"repeats": 1} if store.tiny else {})}
    points = [
        store.run(axis.tool, {**fixed, axis.varied: v, **({"path": path} if path else {})})
        for v in values
    ]
    x = [point[axis.measured_as] for point in points] if axis.measured_as else list(values)
    return Line(
        path=path,
        x=x,
        cpu=[point["cpu"] for point in points],
        peak_mb=[point["peak_mb"] for point in points],
    )
