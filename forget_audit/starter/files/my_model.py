"""Your data and your model, as an audit wants to see them.

Replace what the functions do by your own; the plan names them. Lines marked EDIT come first.
Trained models are remembered until this file changes, or one beside it that it imports: after a
change in what is loaded in other ways, run `forget-audit certify` with `--fresh`.
"""

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

N_CLASSES = 2  # EDIT how many classes there are, also if some rows are left out
EPOCHS = 60  # EDIT passes over the rows
STEPS = 6  # EDIT steps in a pass; the same number with and without the rows to forget
LR = 0.003  # EDIT learning rate


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, ...)` and labels `(n,)`, whole numbers from 0."""
    bunch = load_diabetes()  # EDIT your rows; here 442 patients, and whether they got worse
    x = bunch.data / bunch.data.std(axis=0)
    return x.astype(np.float32), (bunch.target > 140).astype(np.int64)


class MyRows(Dataset[tuple[np.ndarray, int]]):
    """Rows that are read one at a time, for data that do not fit into memory."""

    def __init__(self) -> None:
        bunch = load_diabetes()  # EDIT open files; read nothing but the labels
        self.x, self.targets = bunch.data, (bunch.target > 140).astype(np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return 20 * self.x[index].astype(np.float32), int(self.targets[index])  # EDIT read a row


def stream() -> MyRows:
    """Return a data set of pairs (features, label), in an order that never changes."""
    return MyRows()


def build(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Return a fresh, untrained model for rows of this shape."""
    width = int(np.prod(shape))
    return nn.Sequential(  # EDIT your network
        nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, n_classes)
    )


def fit(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    """Train a model on these rows; everything random must come from `seed`.

    Used only if the plan says `function = "my_model:fit"`.
    """
    torch.manual_seed(seed)
    model = build(x.shape[1:], N_CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    labels, steps = torch.tensor(y), min(STEPS, len(y) // 2)  # batch norm needs two rows
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(y)).tensor_split(steps):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(torch.tensor(x[batch.numpy()])), labels[batch])
            loss.backward()
            optimizer.step()
    return model
