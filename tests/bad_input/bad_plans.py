"""Plans, files of rows and files of weights that are not what they should be, as commands."""

import contextlib
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from forget_audit import cli
from tests.bad_input.world import Network, Trial, digits, names, put, retrained

X, Y = digits()
ROWS: Mapping[str, Any] = {
    "x": X,
    "y": Y,
    "ids": names("row-", range(500)),
    "split": np.repeat(["train", "test"], [300, 200]),
}
REQUEST = {"reference": "REQ-1", "forget": "ids.csv"}
KNOWN = "request: 1 ids to forget"
MODULE = "tests.bad_input.bad_plans"

State = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Args:
        code: Its exit code.
        said: Both of its streams.
    """

    code: int
    said: str


def build(shape: tuple[int, ...], classes: int) -> Network:
    """Build what plans audit."""
    return Network(shape[0], classes)


def run(folder: Path, plan: Mapping[str, Mapping[str, object]]) -> Ended:
    """Run `forget-audit certify --draft` on a plan."""
    lines = []
    for section, values in plan.items():
        lines += [f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
    (folder / "plan.toml").write_text("\n".join(lines), encoding="utf-8")
    out = io.StringIO()
    arguments = ["certify", str(folder / "plan.toml"), "--out", str(folder / "audit")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["forget-audit", *arguments, "--dry-run"])
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(out)
        with streams[0], streams[1], pytest.raises(SystemExit) as stop:
            cli.main()
    return Ended(code=int(stop.value.code or 0), said=out.getvalue())


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def plan_with(
    *, request: Mapping[str, object] = REQUEST, listed: str | None = None, **arrays: Any
) -> Callable[[], Ended]:
    """Return the command on a plan with another request, list of ids, or arrays of rows."""
    asked = "\n".join(f"row-{k}" for k in range(60)) if listed is None else listed

    def play() -> Ended:
        with TemporaryDirectory() as name:
            folder = Path(name)
            kept = {name: value for name, value in {**ROWS, **arrays}.items() if value is not None}
            np.savez(folder / "rows.npz", **kept)
            (folder / "ids.csv").write_text(asked, encoding="utf-8")
            plan = {
                "request": request,
                "data": {"source": "npz:rows.npz"},
                "model": {"architecture": "mlp"},
                "method": {"name": "retrain"},
                "report": {"controller": "Example"},
            }
            return run(folder, plan)

    return play


def weights_with(change: Callable[[State], object], name: str = "new.safetensors") -> Any:
    """Return the command on a plan whose model file was changed."""

    def play() -> Ended:
        with TemporaryDirectory() as place:
            folder = Path(place)
            state = dict(retrained().state_dict())
            change(state)
            save = save_file if name.endswith(".safetensors") else torch.save
            save(state, folder / name)
            np.savez(folder / "rows.npz", **ROWS)
            (folder / "ids.csv").write_text("row-1\nrow-2\n", encoding="utf-8")
            plan = {
                "request": REQUEST,
                "data": {"source": "npz:rows.npz"},
                "model": {"architecture": f"{MODULE}:build", "unlearned": name},
                "report": {"controller": "Example"},
            }
            return run(folder, plan)

    return play


def cut(state: State) -> None:
    state["output.weight"] = state["output.weight"][:, :5].contiguous()


def spoil(state: State) -> None:
    state["output.weight"] = state["output.weight"].index_fill(0, torch.tensor(0), torch.nan)


def class_request(*classes: int) -> Mapping[str, object]:
    return {"reference": "REQ-1", "scope": "class", "classes": list(classes)}


def label_request(name: str) -> Mapping[str, object]:
    return {"reference": "REQ-1", "scope": "attribute", "attribute": name}


def refused(what: str, play: Callable[[], Ended], says: str) -> Trial:
    return Trial(what=what, play=play, ending="exit 2", says=says)


PEOPLE = np.arange(500) // 3

PLANS = [
    refused("NaN in the rows", plan_with(x=put(X, (3, 3), np.nan)), "features must be finite"),
    refused("features as text", plan_with(x=X.astype(str)), "features must be finite numbers"),
    refused("complex features", plan_with(x=X.astype(complex)), "features must be finite numbers"),
    refused("no axis of features", plan_with(x=X[:, 0]), "finite numbers (n, ...)"),
    refused("no rows", plan_with(x=X[:0], y=Y[:0], ids=None, split=None), "0 rows of features"),
    refused("all rows alike", plan_with(x=np.ones_like(X)), "rows of equal content are kept once"),
    refused("a label that is NaN", plan_with(y=put(Y * 1.0, 3, np.nan)), "must be whole numbers"),
    refused("labels between classes", plan_with(y=Y + 0.5), "labels must be whole numbers"),
    refused("negative labels", plan_with(y=Y - 1), "labels must be whole numbers from 0"),
    refused("a label of 100,000", plan_with(y=put(Y, 3, 10**5)), "number the classes anew"),
    refused(
        "a part of another name",
        plan_with(split=np.repeat(["train", "validation"], [300, 200])),
        "split must be one of",
    ),
    refused("no test rows", plan_with(split=np.repeat("train", 500)), "no test rows are left"),
    refused("an id twice", plan_with(ids=put(ROWS["ids"], 0, "row-3")), "row ids must be distinct"),
    refused("an empty id", plan_with(ids=put(ROWS["ids"], 0, "")), "has an empty id or unit"),
    refused(
        "people missing for some rows",
        plan_with(unit=put(PEOPLE * 1.0, slice(0, 500, 7), np.nan)),
        "72 rows have no id or unit",
    ),
    refused(
        "ids as float", plan_with(ids=np.arange(500.0)), "text or whole numbers, found float64"
    ),
    refused("one-hot labels", plan_with(y=np.eye(10)[Y]), "one of each row's 10 labels is 1"),
    refused("an empty list of ids", plan_with(listed=""), "holds no ids"),
    refused("an id listed twice", plan_with(listed="row-1\nrow-1"), "lists 'row-1' twice"),
    refused("an id that is not there", plan_with(listed="row-1\nnobody"), KNOWN),
    refused(
        "a row that was never trained on",
        plan_with(listed="row-1\nrow-400"),
        "only training rows can be forgotten",
    ),
    refused(
        "all training rows",
        plan_with(listed="\n".join(f"row-{k}" for k in range(300))),
        "no retain rows are left",
    ),
    refused("a class that is not there", plan_with(request=class_request(77)), "does not exist"),
    refused("all classes", plan_with(request=class_request(*range(10))), "no retain rows are left"),
    refused(
        "a class of one row, which no test row has",
        plan_with(request=class_request(10), y=put(Y, 299, 10)),
        "no test rows are left",
    ),
    refused(
        "a label that is not there",
        plan_with(request=label_request("loop"), y=np.stack([Y % 2, Y > 4], axis=1) * 1),
        "has no label 'loop'",
    ),
    refused(
        "the only label of the rows",
        plan_with(request=label_request("label 0"), y=(Y % 2)[:, None]),
        "no known label but the one to be forgotten",
    ),
    refused("weights with a name too few", weights_with(lambda s: s.pop("output.bias")), "Missing"),
    refused(
        "weights with a name too many",
        weights_with(lambda s: s.update(more=torch.zeros(3))),
        "Unexpected key",
    ),
    refused("weights of another shape", weights_with(cut), "size mismatch for output.weight"),
    refused("NaN in the weights", weights_with(spoil), "numbers that are not finite"),
    refused(
        "whole numbers as weights",
        weights_with(lambda s: s.update({k: v.int() for k, v in s.items()})),
        "found torch.int32",
    ),
    refused(
        "complex weights",
        weights_with(
            lambda s: s.update({k: v.to(torch.complex64) for k, v in s.items()}), "new.pt"
        ),
        "found torch.complex64",
    ),
]
