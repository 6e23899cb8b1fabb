"""Training functions as users write them, good and bad."""

import numpy as np
import torch
import xgboost
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from forget_audit.streaming import Streamed

SHARED = nn.Linear(5, 2)
FOREST = RandomForestClassifier(3, max_depth=3)
NUMBER = 7


def fit(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    torch.manual_seed(seed)  # noqa: TID251 as users do
    model = nn.Linear(x.shape[1], 2)
    with torch.no_grad():
        model.bias.add_(float(y.mean()))
    return model


def stepped(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    model = fit(x, y, seed)
    model(torch.as_tensor(x)).sum().backward()
    return model


def unseeded(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    return nn.Linear(x.shape[1], 2)


def boosted(x: np.ndarray, y: np.ndarray, seed: int) -> object:
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2, subsample=0.5, random_state=seed)
    return model.fit(x, y)


def shared_forest(x: np.ndarray, y: np.ndarray, seed: int) -> object:
    return FOREST.set_params(random_state=seed).fit(x, y)


def shared_network(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    return SHARED


def in_place(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    x -= x.mean(axis=0)
    y[:] = 0
    return fit(x, y, seed)


def broken(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    raise KeyError("learning_rate")


def nothing(x: np.ndarray, y: np.ndarray, seed: int) -> None:
    pass


def two(x: np.ndarray, y: np.ndarray) -> None:
    pass


def measured(x: Streamed, y: np.ndarray, seed: int) -> nn.Module:
    """Read two rows of a stream at a time."""
    assert isinstance(x, Streamed)
    total = sum(float(np.sum(x[i : i + 2])) for i in range(0, len(x), 2))
    model = nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.fill_(total)
    return model
