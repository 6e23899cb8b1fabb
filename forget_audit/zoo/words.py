"""Networks for texts, given as the numbers of their words."""

import math

import torch
from torch import nn
from torch.nn import functional

from forget_audit.errors import ModelError, NotApplicable


class WordMean(nn.Module):
    """Looks words up, takes the mean over the text, and classifies it by two linear layers.

    Args:
        words: Size of the vocabulary; word 0 fills up short texts and does not count.
        width: Of a word's vector and of the hidden layer.
        n_classes: Number of outputs.
    """

    def __init__(self, words: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.words = words
        self.embedding = nn.Embedding(words, width)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits `(n, n_classes)` of texts `(n, length)`.

        Raises:
            ModelError: If a number is beyond the vocabulary.
            NotApplicable: If somebody moves the words, or asks for a gradient by them.
        """
        if x.requires_grad and torch.is_grad_enabled():
            raise NotApplicable(
                "the words of a text have no gradient; methods and attacks that move the features "
                "do not apply to texts"
            )
        self._check(torch.func.debug_unwrap(x.detach()))
        ids = x.long().flatten(1)
        there = (ids > 0).to(self.embedding.weight.dtype).unsqueeze(2)
        total = (self.embedding(ids) * there).sum(1)
        mean = total / there.sum(1).clamp(min=1)
        logits: torch.Tensor = self.head(functional.relu(self.hidden(mean)))
        return logits

    def _check(self, found: torch.Tensor) -> None:
        if not found.numel():
            return
        if not torch.equal(found, found.round()):
            raise NotApplicable(
                "texts are whole numbers of words, found others; methods and attacks that move "
                "the features do not apply to texts"
            )
        if found.min() < 0 or found.max() >= self.words:
            raise ModelError(
                f"expected numbers of words from 0 to {self.words - 1}, found "
                f"{int(found.min())} to {int(found.max())}; set the option words to at least "
                f"{int(found.max()) + 1}"
            )


def text(shape: tuple[int, ...], n_classes: int, words: int = 5000, width: int = 64) -> nn.Module:
    """Classifier of texts: the mean of its words' vectors, a hidden layer, an output.

    Rows are `(length,)` numbers of words; 0 fills up short texts. `words` is one more than the
    largest number.
    """
    if words < 2 or math.prod(shape) < 1:
        raise ModelError(f"text: expected at least two words and one place, found {words}, {shape}")
    return WordMean(words, width, n_classes)
