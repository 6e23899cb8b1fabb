"""Recorded answers: a file of predictions, written by any language, in place of models."""

from forget_audit.predictions.arrays import VERSION, PredictionsError
from forget_audit.predictions.content import Part, Predictions, from_arrays, read

__all__ = ["VERSION", "Part", "Predictions", "PredictionsError", "from_arrays", "read"]
