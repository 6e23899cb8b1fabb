"""What is fixed before an audit trains anything, and the digest that commits to it.

First the digest goes into the ledger, then models are trained, and the report shows what was
behind it. So nobody can choose seeds, model or method after they have seen what comes out, without
an entry in the ledger for every choice that they tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forget_audit.digests import canonical_json, plain, sha256
from forget_audit.seeds import derive
from forget_audit.types import Json

GROUPS = ("retrained", "identity", "originals")


def yardstick_seeds(root: int, counts: Mapping[str, int]) -> Json:
    """Return the seed of each model that the audited one is compared with, in hexadecimal.

    Args:
        root: Root seed.
        counts: How many models of each of `GROUPS` there may be.
    """
    return {
        group: [f"{derive(root, group, k):016x}" for k in range(counts.get(group, 0))]
        for group in GROUPS
    }


def fixed(
    *,
    plan: object,
    case: str,
    seeds: Json,
    audited: Sequence[str] = (),
    method: Json | None = None,
    original: str | None = None,
) -> Json:
    """Return what a commitment is about.

    Args:
        plan: As it is published.
        case: Digest of all rows.
        seeds: As by `yardstick_seeds`.
        audited: Digests of the audited model or copies, if they were handed in.
        method: Name and parameters, if the audit makes the audited model.
        original: Digest of the model it is made from, if that was handed in.
    """
    return {
        "plan": sha256(canonical_json(plan)),
        "case": case,
        "seeds": seeds,
        "audited": [*audited],
        "method": plain(method),
        "original": original,
    }


def fixed_in(evidence: Json) -> Json:
    """Return what the evidence of a finished audit says was fixed; it must fit its schema."""
    model, method = evidence["model"], evidence["method"]
    original = model["original"]
    return fixed(
        plan=evidence["plan"],
        case=evidence["digests"]["case"],
        seeds=evidence["seeds"]["begun"]["seeds"],
        audited=[item["sha256"] for item in model["audited"] if item["made_by"] == "handed in"],
        method=method and {key: method[key] for key in ("name", "parameters")},
        original=original["sha256"] if original and original["made_by"] == "handed in" else None,
    )


def commitment(content: Json, nonce: str) -> str:
    """Return the SHA-256 of the canonical JSON of nonce and content."""
    return sha256(canonical_json([nonce, content]))
