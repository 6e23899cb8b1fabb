"""Image and text classifiers of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from forget_audit.errors import ModelError
from forget_audit.zoo.bounded import fitting
from forget_audit.zoo.hub_folders import CONFIG, normalisation, offline, pretrained_config

FAMILIES = {
    "ForImageClassification": "AutoModelForImageClassification",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
}
PASSING = ("dtype", "id2label", "label2id", "torch_dtype", "transformers_version")


class Pretrained(nn.Module):
    """A classifier of transformers, which answers with its logits.

    Args:
        network: For images `(n, channels, height, width)`, or for token ids `(n, length)`.
        family: Its class in `transformers`, one of `FAMILIES`.
        mean: Of each channel, which the pixels of the rows are made less by.
        std: Of each channel, which they are then divided by.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        family: str,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
    ) -> None:
        super().__init__()
        self.network, self.family = network, family
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1), persistent=False)

    @property
    def config(self) -> Any:
        """The configuration of the network."""
        return self.network.config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits `(n, n_classes)`.

        Raises:
            ModelError: If there are tokens that the network does not know.
        """
        if self.family.endswith("SequenceClassification"):
            return cast(torch.Tensor, self.network(**self._tokens(x)).logits)
        pixels = (x - self.mean) / self.std if len(self.mean) else x
        return cast(torch.Tensor, self.network(pixel_values=pixels).logits)

    def _tokens(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        ids = x.reshape(len(x), -1).long()
        known = int(self.config.vocab_size)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < known:
            raise ModelError(
                f"expected token ids from 0 to {known - 1}, found {int(ids.min())} to "
                f"{int(ids.max())}; use the tokenizer of the model"
            )
        padding = self.config.pad_token_id
        if padding is None:
            return {"input_ids": ids}
        return {"input_ids": ids, "attention_mask": (ids != padding).long()}

    def read_folder(self, folder: Path) -> None:
        """Take the weights that `save_pretrained` wrote, if the network is the same.

        Raises:
            ModelError: If they are not sound, incomplete, or of another network.
        """
        config = pretrained_config(folder)
        other = _differences(_settings(self.config), _settings(config))
        if other:
            raise ModelError(f"it is another network, {CONFIG} differs in {', '.join(other)}")
        with offline() as transformers:
            network, found = getattr(transformers, self.family).from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
        wrong = {kind: sorted(map(str, names)) for kind, names in found.items() if names}
        if wrong:
            said = "; ".join(f"{kind}: {', '.join(names[:3])}" for kind, names in wrong.items())
            raise ModelError(f"the weights do not fit {CONFIG}: {said}")
        self.network.load_state_dict(network.state_dict())


class Networks:
    """Builds networks of transformers by the configuration in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, pretrained_config(folder)
        listed = self.config.architectures
        texts = listed if isinstance(listed, list) else []
        named = [
            name for name in texts for end in FAMILIES if isinstance(name, str) and end in name
        ]
        if not named:
            raise ModelError(
                f"{folder.name}/{CONFIG} names the architecture {self.config.architectures}; "
                f"expected one that ends in {' or '.join(FAMILIES)}"
            )
        self.family = next(kind for end, kind in FAMILIES.items() if end in named[0])

    def __call__(
        self, shape: tuple[int, ...], n_classes: int, *, normalised: bool = False
    ) -> Pretrained:
        """Return an untrained network.

        Args:
            shape: Of a row.
            n_classes: Number of outputs.
            normalised: Whether the pixels of the rows were normalised already. If not, they are
                by the numbers in `preprocessor_config.json`, if there are any.
        """
        known = len(self.config.id2label)
        if known != n_classes:
            raise ModelError(
                f"{self.folder.name} answers for {known} classes (id2label), the data have "
                f"{n_classes}"
            )
        mean, std = ((), ()) if normalised else normalisation(self.folder)
        if self.family.endswith("SequenceClassification"):
            self._check_tokens(shape)
            mean, std = (), ()
        else:
            self._check_image(shape, len(mean))
        with offline() as transformers:
            make = partial(
                getattr(transformers, self.family).from_config,
                self.config,
                attn_implementation="eager",
                trust_remote_code=False,
            )
            network = fitting(self.folder, make)
        return Pretrained(network.float(), self.family, mean, std)

    def _check_image(self, shape: tuple[int, ...], n_means: int) -> None:
        channels, size = getattr(self.config, "num_channels", None), _sides(self.config)
        fits = len(shape) == 3 and channels in (None, shape[0]) and n_means in (0, shape[0])
        if not fits or size not in (None, shape[1:]):
            sides = "any size" if size is None else f"{size[0]} x {size[1]} pixels"
            raise ModelError(
                f"{self.folder.name} takes images of {channels} channels and {sides}, found rows "
                f"of shape {shape}; read the images at that size"
            )

    def _check_tokens(self, shape: tuple[int, ...]) -> None:
        longest = getattr(self.config, "max_position_embeddings", None)
        if len(shape) != 1 or (isinstance(longest, int) and shape[0] > longest > 0):
            raise ModelError(
                f"{self.folder.name} takes up to {longest} token ids, found rows of shape {shape}"
            )


def _settings(config: Any) -> dict[str, Any]:
    """Return what a network is made by, not how it was saved or what its classes are called."""
    found: dict[str, Any] = config.to_dict()
    return {k: v for k, v in found.items() if k not in PASSING and not k.startswith("_")}


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return sorted(
        name for name in {*ours, *theirs} if ours.get(name, None) != theirs.get(name, None)
    )


def _sides(config: Any) -> tuple[int, int] | None:
    """Return height and width of images, if they are fixed."""
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return size, size
    if not isinstance(size, (list, tuple)):
        return None
    if len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise ModelError(f"{CONFIG}: expected image_size as one or two whole numbers")
    return size[0], size[1]
