"""Training and unlearning as tasks give what they give without an engine."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from forget_audit.architectures import Architecture
from forget_audit.data import Request, prepare
from forget_audit.engines.local import Local
from forget_audit.errors import ModelError
from forget_audit.methods.finetune import Finetune
from forget_audit.named_objects import imported_from, own_files
from forget_audit.sources import loading
from forget_audit.targets import weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.practice import practise
from forget_audit.training.references import Counts, Workshop, prepare_references
from forget_audit.training.trainers import RecipeTrainer

COUNTS = Counts(retrained=3, originals=1, identity=1, shadows=2)


def workshop(engine: Local | None, cache: Path | None = None) -> Workshop:
    dataset = loading.load("digits", folder=Path())
    architecture = Architecture(name="mlp", shape=(64,), n_classes=10, options={"hidden": [8]})
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=1))
    case = prepare(dataset, Request(random=50), seed=0, trainer=trainer)
    build = architecture.build
    return Workshop(case=case, seed=0, template=build, engine=engine, cache=cache)


def practised(engine: Local | None, cache: Path | None = None) -> list[str]:
    bench = workshop(engine, cache)
    found = prepare_references(bench, COUNTS)
    pool = practise(found.pool, bench, Finetune(epochs=1), 3)
    targets = [*pool.retrained, *pool.originals, *found.identity]
    for shadow in pool.shadows:
        assert shadow.after is not None
        targets += [shadow.target, shadow.after]
    for candidate in pool.candidate_shadows:
        targets += [candidate.before, candidate.after]
    return [target.digest() for target in targets]


def test_every_model_is_the_same_with_an_engine_and_without(tmp_path: Path) -> None:
    here = practised(None)
    assert practised(Local(), tmp_path) == here
    assert len(set(here)) == len(here)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == len(here), "unlearned ones are remembered as well"
    assert practised(None, tmp_path) == here
    assert sorted(tmp_path.glob("*.safetensors")) == files, "nothing was trained again"


def test_an_engine_that_is_asked_for_nothing_trains_nothing() -> None:
    bench = workshop(Local())
    assert bench.train("retrained", bench.case.retain, []) == []
    (model,) = bench.train("retrained", bench.case.retain, [np.arange(20)])
    assert not model.training
    assert weights_digest(model) != weights_digest(bench.template())
    assert all(p.grad is None for p in model.parameters())
    assert torch.isfinite(model(torch.zeros(1, 64))).all()


def test_code_that_is_sent_is_what_a_module_imports_from_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sent.py").write_text("def fit(x):\n    import later\n    return later\n")
    (tmp_path / "later.py").write_text("import numpy\n")
    (tmp_path / "unused.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("sent")
    try:
        assert imported_from(tmp_path) == ["sent"]
        folder, files = own_files("sent")
        assert (folder, [file.name for file in files]) == (tmp_path, ["later.py", "sent.py"])
        (tmp_path / "later.py").write_text("def :")
        with pytest.raises(ModelError, match="sent cannot be read as Python"):
            own_files("sent")
    finally:
        sys.modules.pop("sent")
    assert own_files("numpy")[1] == [], "is to be installed wherever it runs"
    with pytest.raises(ModelError, match="sys stands in no file"):
        own_files("sys")
