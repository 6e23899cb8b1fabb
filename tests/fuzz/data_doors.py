"""Doors of data: predictions, models and what the readers of data sets open."""

from tests.fuzz import memory_doors, model_doors, prediction_doors, source_doors
from tests.fuzz.doors import Door

DOORS: tuple[Door, ...] = (
    *prediction_doors.DOORS,
    *source_doors.DOORS,
    *model_doors.DOORS,
    *memory_doors.DOORS,
)
