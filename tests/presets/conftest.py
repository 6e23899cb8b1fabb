"""The small copies of the papers' data, each read once."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from forget_audit.datasets import Dataset
from forget_audit.plans import plan
from forget_audit.sources.loading import load
from tests.presets import copies


@cache
def read(source: str, folder: Path, seed: int, noise: float, options: str) -> Dataset:
    given = json.loads(options)
    return load(source, folder=folder, seed=seed, label_noise=noise, options=given)


def remembered(
    source: str, *, folder: Path, seed: int, label_noise: float, options: Mapping[str, object]
) -> Dataset:
    return read(source, folder, seed, label_noise, json.dumps(options))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    copies.make(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each data set once."""
    monkeypatch.setattr(plan, "load", remembered)
