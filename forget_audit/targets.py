"""The only place that knows what a framework is: a model seen through a declared access.

A target owns evaluation mode, device and batching, so that no attack can forget them.
"""

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from forget_audit import stats
from forget_audit.answers_store import AnswersStore, Known
from forget_audit.asking import ask, check_models, refuse_probabilities, running
from forget_audit.asking import device_of as device_of
from forget_audit.asking import evaluating as evaluating
from forget_audit.digests import arrays_digest
from forget_audit.errors import AccessError, ModelError
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.labels import label_loss
from forget_audit.types import ACCESS_ORDER, UNKNOWN, Access, Case, Features, Floats, Labels, Rows

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ANSWERS = AnswersStore()


class Target:
    """A trained classifier that answers no more than its declared access.

    Logits are computed in evaluation mode and returned as float64. They, and what follows from
    them, are worked out once for each `Rows` object and shared by all views of the model; many of
    them are kept on disk, see `AnswersStore`. The model is never changed: its mode is restored
    after every query.

    Args:
        model: Maps `(n, ...)` float32 features to `(n, n_classes)` logits.
        access: `label`, `score`, `gradient` or `weights`, each including those before it.
        batch_size: Rows in one forward pass.
    """

    def __init__(
        self, model: nn.Module, *, access: Access = "weights", batch_size: int = 2048
    ) -> None:
        self._model = model
        self._batch_size = batch_size
        self._known = Known()
        self._order: list[tuple[str, ...]] = []
        self.access = granted(model, access)

    def restricted(self, access: Access) -> "Target":
        """Return a view of the same model that answers at most `access`."""
        view = Target(self._model, access=access, batch_size=self._batch_size)
        view._known, view._order = self._known, self._order
        return view

    def once(self, rows: Rows, name: Hashable, compute: Callable[[], Floats]) -> Floats:
        """Return what `compute` gives, worked out once for `rows`, for all views of the model.

        Args:
            rows: What the numbers are about; they are forgotten with it.
            name: Tells these numbers from others about the rows, settings included.
            compute: Gives them; read-only afterwards.
        """
        known = self._known.setdefault(rows, {})
        if name not in known:
            known[name] = ANSWERS.keep(compute())
        return known[name]

    def labels(self, rows: Rows) -> Labels:
        """Return the predicted classes `(n,)`."""
        return np.asarray(np.argmax(self._forward(rows), axis=1), dtype=np.int64)

    def logits(self, rows: Rows) -> Floats:
        """Return the logits `(n, n_classes)`, float64, read-only.

        Raises:
            AccessError: Below access `score`.
            ModelError: If the model returns something else or numbers that are not finite.
        """
        self._require("score", "logits")
        return self._forward(rows)

    def log_odds(self, rows: Rows) -> Floats:
        """Return the log-odds of the labels `(n,)`, read-only, by `stats.log_odds`.

        Raises:
            AccessError: Below access `score`.
        """
        logits = self.logits(rows)
        return self.once(rows, "log-odds", lambda: stats.log_odds(logits, rows.y))

    def losses(self, rows: Rows) -> Floats:
        """Return the cross-entropy of the labels `(n,)` in nats, read-only.

        Raises:
            AccessError: Below access `score`.
        """
        logits = self.logits(rows)
        return self.once(rows, "losses", lambda: stats.cross_entropy(logits, rows.y))

    def probabilities(self, rows: Rows) -> Floats:
        """Return the softmax of the logits `(n, n_classes)`, read-only.

        Raises:
            AccessError: Below access `score`.
        """
        logits = self.logits(rows)
        return self.once(rows, "probabilities", lambda: stats.probabilities(logits))

    def loss_gradients(self, rows: Rows) -> Floats:
        """Return the gradient of each row's `label_loss` by its features, shaped like them.

        Raises:
            AccessError: Below access `gradient`.
        """
        self._require("gradient", "gradients")
        parts = []
        with evaluating(self._model), running("for gradients"), torch.enable_grad():
            device = device_of(self._model)
            for start in range(0, len(rows), self._batch_size):
                part = slice(start, start + self._batch_size)
                x = torch.tensor(rows.x[part], device=device, requires_grad=True)
                y = torch.tensor(rows.y[part], device=device)
                loss = label_loss(self._model(x), y, "none").sum()
                parts.append(torch.autograd.grad(loss, x)[0].double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(rows.x.shape)

    def feature_layers(self, rows: Rows) -> tuple[str, ...]:
        """Return the layers whose inputs are learnt features, in order of execution.

        These are the linear and convolutional layers after the first; the features of the last
        one are the penultimate ones, which the output layer reads.

        Raises:
            AccessError: Below access `weights`.
        """
        self._require("weights", "features")
        if not self._order:
            order: list[str] = []
            with self._watching(lambda name, _: order.append(name)):
                self._run(rows.x[:2])
            self._order.append(tuple(dict.fromkeys(order))[1:])
        return self._order[0]

    def features(self, rows: Rows, layer: str | None = None) -> Floats:
        """Return the input of a layer for each row, flattened to `(n, width)`, float64.

        Those of the last layer are worked out once; earlier ones are often far wider.

        Args:
            rows: The rows.
            layer: One of `feature_layers`; the last if left out.

        Raises:
            AccessError: Below access `weights`.
            ModelError: If the model has no such layer.
        """
        known = self.feature_layers(rows)
        wanted = layer if layer is not None else (known[-1] if known else None)
        if wanted not in known:
            raise ModelError(f"no features before layer {wanted!r}; known: {', '.join(known)}")
        if wanted == known[-1]:
            return self.once(rows, "features", lambda: self._inputs_of(rows, wanted))
        return self._inputs_of(rows, wanted)

    def _inputs_of(self, rows: Rows, wanted: str) -> Floats:
        parts: list[Floats] = []
        for start in range(0, len(rows), self._batch_size):
            seen: dict[str, Floats] = {}
            with self._watching(seen.__setitem__, wanted):
                self._run(rows.x[start : start + self._batch_size])
            parts.append(seen[wanted])
        return np.concatenate(parts)

    def model_copy(self) -> nn.Module:
        """Return an independent copy of the model, to be changed at will.

        Raises:
            AccessError: Below access `weights`.
        """
        self._require("weights", "a copy of the model")
        return copy.deepcopy(self._model)

    def own_copy(self) -> nn.Module:
        """Return an independent copy of a model that the auditor has trained, of any library."""
        return copy.deepcopy(self._model)

    def weights(self) -> Mapping[str, Floats]:
        """Return parameters and buffers by name, float64.

        Raises:
            AccessError: Below access `weights`.
        """
        self._require("weights", "weights")
        return {
            name: tensor.detach().cpu().numpy().astype(np.float64)
            for name, tensor in self._model.state_dict().items()
        }

    def parameter_names(self) -> tuple[str, ...]:
        """Return the names of the parameters, without buffers, in order of definition."""
        self._require("weights", "parameter names")
        return tuple(name for name, _ in self._model.named_parameters())

    def digest(self) -> str:
        """Return a SHA-256 over names, types, shapes and bytes of all weights and buffers."""
        return weights_digest(self._model)

    def accuracy(self, rows: Rows) -> float:
        """Return the share of `rows` that is classified as labelled, of known labels if several."""
        if rows.y.ndim == 1:
            return float(np.mean(self.labels(rows) == rows.y))
        right = (self._forward(rows) > 0) == (rows.y == 1)
        return float(np.mean(right[rows.y != UNKNOWN]))

    def _require(self, access: Access, what: str) -> None:
        if ACCESS_ORDER.index(self.access) < ACCESS_ORDER.index(access):
            raise AccessError(f"{what} needs access {access!r}, this target allows {self.access!r}")

    @contextmanager
    def _watching(
        self, note: Callable[[str, Floats], None], only: str | None = None
    ) -> Iterator[None]:
        """Call `note` with name and flattened input of linear and convolutional layers."""

        def hook(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
            def look(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                note(name, inputs[0].detach().flatten(1).double().cpu().numpy())

            return look

        handles = [
            module.register_forward_pre_hook(hook(name))
            for name, module in self._model.named_modules()
            if isinstance(module, LAYERS) and only in (None, name)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _run(self, x: Features) -> None:
        with evaluating(self._model):
            ask(self._model, x)

    def _forward(self, rows: Rows) -> Floats:
        return self.once(rows, "logits", lambda: self._asked(rows))

    def _asked(self, rows: Rows) -> Floats:
        starts = range(0, len(rows), self._batch_size)
        with evaluating(self._model):
            parts = [ask(self._model, rows.x[k : k + self._batch_size]) for k in starts]
        logits = np.concatenate(parts) if parts else np.zeros((0, 1))
        refuse_probabilities(logits)
        return logits


def check_targets(targets: Sequence[Target], case: Case, name: str) -> None:
    """Check that models answer as models should, the same rows alike whenever they are asked.

    Args:
        targets: Of one recipe.
        case: The rows; a few of each role are asked about.
        name: What to call the models in messages, such as `retrained model`.

    Raises:
        ModelError: If one does not.
    """
    check_models([target._model for target in targets], case, name)


def granted(model: nn.Module, access: Access) -> Access:
    """Return the access that is possible of what is asked: answers alone, if that is all."""
    asked = ACCESS_ORDER.index(access)
    most = ACCESS_ORDER.index("score" if isinstance(model, AnswersOnly) else "weights")
    return ACCESS_ORDER[min(asked, most)]


def weights_digest(model: nn.Module) -> str:
    """Return a SHA-256 over all weights and buffers, whatever file they were saved in."""
    state = {name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
    return arrays_digest(state)
