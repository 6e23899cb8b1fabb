"""Doors of trust: plans, requests, evidence, signatures, reports, ledgers, keys."""

from __future__ import annotations

from tests.fuzz import key_doors, ledger_doors, plan_doors, signed_doors, surrounding_doors
from tests.fuzz.doors import Door

DOORS: tuple[Door, ...] = (
    *plan_doors.DOORS, *signed_doors.DOORS, *ledger_doors.DOORS, *key_doors.DOORS,
    *surrounding_doors.DOORS,
)  # fmt: skip
