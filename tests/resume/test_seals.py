"""What another account remembered, or remembered as something else, is never believed."""

from pathlib import Path

import numpy as np
import pytest

from forget_audit.architectures import Architecture
from forget_audit.attacks.lira import Lira
from forget_audit.audits.results import Results
from forget_audit.errors import KeyFileError
from forget_audit.findings import AttackResult
from forget_audit.seals import SECRET, SECRET_BYTES, seal_of
from forget_audit.targets import weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Workshop
from forget_audit.training.remembered_models import remembered_bytes
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case

NETWORK = Architecture(name="linear", shape=(4,), n_classes=2)


@pytest.fixture(autouse=True)
def auditor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "auditor"))
    return tmp_path / "auditor"


def shop(cache: Path | None) -> Workshop:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype(np.float32)
    y = rng.integers(0, 2, 40)
    ids = np.array([f"row-{i}" for i in range(40)])
    trainer = RecipeTrainer(architecture=NETWORK, recipe=Recipe(epochs=2))
    case = Case.from_arrays(
        x[:30], y[:30], forget=["row-0", "row-1"], test=(x[30:], y[30:]), ids=ids[:30],
        trainer=trainer,
    )  # fmt: skip
    return Workshop(case=case, seed=0, template=NETWORK.build, cache=cache)


def trained(cache: Path | None) -> list[str]:
    """The digests of two retrained models, remembered or trained."""
    workshop = shop(cache)
    rows = workshop.case.retain
    return [
        weights_digest(model)
        for model in workshop.train("retrained", rows, [np.arange(len(rows))] * 2)
    ]


def test_models_that_another_account_wrote_are_trained_again(
    tmp_path: Path, auditor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider knows all names, which are digests, and could choose the yardstick by them."""
    true, cache = trained(None), tmp_path / "models"
    assert trained(cache) == true
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "provider"))
    for file in cache.glob("*.safetensors"):
        file.write_bytes(remembered_bytes(NETWORK.build(), file.stem))
    assert trained(cache)[0] not in true, "its own models are remembered for the provider"
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(auditor))
    assert trained(cache) == true


def test_a_model_under_the_name_of_another_is_trained_again(tmp_path: Path) -> None:
    true, cache = trained(tmp_path / "models"), tmp_path / "models"
    one, other = sorted(cache.glob("*.safetensors"))
    one.write_bytes(other.read_bytes())
    assert trained(cache) == true
    assert one.read_bytes() != other.read_bytes()


def test_a_result_under_the_name_of_another_is_computed_again(tmp_path: Path) -> None:
    found = AttackResult(
        name="lira", outcome="informative", reason="", metrics=(), series={}, duration_s=0.0
    )
    Results(folder=tmp_path, context="one").keep(Lira, found)
    (file,) = tmp_path.glob("*.json")
    Results(folder=tmp_path, context="other").keep(Lira, found)
    (other,) = set(tmp_path.glob("*.json")) - {file}
    other.write_bytes(file.read_bytes())
    assert Results(folder=tmp_path, context="one").recall(Lira) == found
    assert Results(folder=tmp_path, context="other").recall(Lira) is None


def test_the_secret_is_made_once_and_for_its_owner_alone(auditor: Path) -> None:
    first = seal_of(b"data", "name")
    assert seal_of(b"data", "name") == first
    assert (auditor / SECRET).stat().st_mode & 0o777 == 0o600
    assert len({first, seal_of(b"data", "other"), seal_of(b"other", "name")}) == 3
    (auditor / SECRET).write_bytes(bytes(SECRET_BYTES - 1))
    with pytest.raises(KeyFileError, match=r"remembered\.secret: expected 32 bytes.*delete it"):
        seal_of(b"data", "name")
    (auditor / SECRET).write_bytes(bytes(SECRET_BYTES))
    (auditor / SECRET).chmod(0o644)
    with pytest.raises(KeyFileError, match="open to other users"):
        seal_of(b"data", "name")
