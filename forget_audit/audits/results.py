"""Results of attacks and experiments that are remembered, so that nothing is computed twice."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from forget_audit.contracts import Method
from forget_audit.digests import (
    arrays_digest,
    canonical_json,
    case_digest,
    sha256,
)
from forget_audit.findings import AttackResult
from forget_audit.named_objects import code_of
from forget_audit.pools import Pool
from forget_audit.seals import sealed, unsealed
from forget_audit.targets import Target
from forget_audit.training.references import fingerprint
from forget_audit.types import Case
from forget_audit.whole_files import write_whole

log = logging.getLogger(__name__)

RESULT = TypeAdapter(AttackResult)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Results by the digest of all that they follow from.

    Args:
        folder: Where they are kept; nowhere if left out.
        context: Digest of everything but the attack itself; nothing is kept without one.
        fresh: Whether to ignore what is kept.
    """

    folder: Path | None = None
    context: str | None = None
    fresh: bool = False

    def recall(self, kind: type) -> AttackResult | None:
        """Return the kept result of an attack or experiment, if there is one.

        Args:
            kind: Class of the attack or experiment.
        """
        file = self._file(kind)
        if file is None or self.fresh or not file.is_file():
            return None
        try:
            return RESULT.validate_json(unsealed(file.read_bytes(), file.stem))
        except (OSError, ValueError) as error:  # of pydantic, too
            log.warning("%s cannot be read (%s); it is computed again", file.name, error)
            return None

    def keep(self, kind: type, result: AttackResult) -> None:
        """Keep a result, unless it says that something went wrong."""
        file = self._file(kind)
        if file is None or result.outcome == "error":
            return
        write_whole(file, sealed(RESULT.dump_json(result), file.stem))

    def _file(self, kind: type) -> Path | None:
        code = code_of(kind)
        if self.folder is None or self.context is None or code is None:
            return None
        name = sha256(canonical_json([self.context, kind.__qualname__, code]))
        return self.folder / f"{name}.json"


def context_of_attacks(
    audited: Target, pool: Pool, case: Case, seed: int, access: str
) -> str | None:
    """Return a digest of what the results of attacks follow from; none if that is not known."""
    made_by = fingerprint(case.trainer) if case.trainer is not None else ""
    if made_by is None:
        return None
    masks = {
        f"{name}.{k}.{field.name}": mask
        for name in ("shadows", "candidate_shadows")
        for k, shadow in enumerate(getattr(pool, name))
        for field in dataclasses.fields(shadow)
        if isinstance(mask := getattr(shadow, field.name), np.ndarray)
    }
    rows = {} if pool.candidates is None else {"candidates": pool.candidates.ids}
    groups = {name: [t.digest() for t in targets] for name, targets in _groups(pool).items()}
    settings = [made_by, case_digest(case), arrays_digest(masks | rows), str(seed), access]
    return sha256(canonical_json([settings, audited.digest(), groups]))


def context_of_experiments(method: Method | None, case: Case, seed: int) -> str | None:
    """Return a digest of what the results of experiments follow from; none if not known."""
    made_by, code = fingerprint(case.trainer), code_of(type(method))
    if method is None or made_by is None or code is None:
        return None
    procedure = [type(method).__qualname__, code, repr(method)]
    return sha256(canonical_json([made_by, procedure, case_digest(case), str(seed)]))


def _groups(pool: Pool) -> dict[str, list[Target]]:
    """Return all models of a pool by what they are."""
    groups: dict[str, list[Target | None]] = {
        "retrained": [*pool.retrained],
        "originals": [*pool.originals],
        "parent": [pool.parent],
        "twin": [pool.twin],
        "shadows": [shadow.target for shadow in pool.shadows],
        "after": [shadow.after for shadow in pool.shadows],
        "candidates before": [shadow.before for shadow in pool.candidate_shadows],
        "candidates after": [shadow.after for shadow in pool.candidate_shadows],
    }
    return {name: [t for t in targets if t is not None] for name, targets in groups.items()}
