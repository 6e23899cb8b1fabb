"""What the statement of an audit says of it: the result for programs, and nothing by row.

Evidence may lack what later versions added. Then the predicate lacks it as well, so that a
statement signed long ago still equals the one made from its evidence today.
"""

from typing import Any

from forget_audit.digests import canonical_json, sha256
from forget_audit.types import Json

LATER = ("parties", "lineage", "ledger")
_TEST = ("name", "role", "estimate", "reference_mean", "reference_sd", "difference", "interval",
         "margin", "p_value", "outcome")  # fmt: skip


def audit_predicate(evidence: Json) -> Json:
    """Return the predicate that `evidence` stands for."""
    encoded = canonical_json(evidence)
    report, method = evidence["report"], evidence["method"]
    return {
        "reportId": report["id"],
        "issuedOn": report["issued"],
        "supersedes": report["supersedes"],
        **_given({"change": report.get("change")}),
        "tool": {
            "name": evidence["tool"]["name"],
            "version": evidence["tool"]["version"],
            "sourceDigest": {"sha256": evidence["tool"]["source_digest"]},
        },
        "policy": _policy(evidence["battery"]),
        "request": _request(evidence["request"]),
        "controller": report["controller"],
        **_given({"parties": evidence.get("parties"), "lineage": evidence.get("lineage")}),
        "method": method and {"name": method["name"], "guaranteeClaimed": method["guarantee"]},
        "references": _references(evidence),
        "environment": evidence["environment"],
        "tests": [_test(item, evidence["battery"]["required"]) for item in evidence["statistics"]],
        "gates": evidence["gates"],
        "verdict": {
            "value": evidence["verdict"]["outcome"],
            "reasons": evidence["verdict"]["reasons"],
            "scope": evidence["verdict"]["scope"],
        },
        "limits": evidence["limits"],
        "evidence": {
            "digest": {"sha256": sha256(encoded)},
            "mediaType": "application/json",
            "size": len(encoded),
        },
        **_given({"ledger": evidence.get("ledger")}),
        **({"keyProtection": report["key"]} if _is_later(evidence) else {}),
    }


def _policy(battery: Json) -> Json:
    return {
        "name": battery["profile"],
        "digest": {"sha256": battery["profile_digest"]},
        "required": battery["required"],
        "claim": battery["claim"],
        "access": battery["access"],
    }


def _request(request: Json) -> Json:
    return {
        "ref": request["reference"],
        "basis": request["basis"],
        "receivedOn": request["received"],
        "scope": request["scope"],
        **_given({"dueOn": request.get("due"), "erasedOn": request.get("erased")}),
    }


def _references(evidence: Json) -> Json:
    """Return what the audited models were compared with; never as subjects of the statement."""
    model, counts = evidence["model"], evidence["counts"]
    original = model["original"]
    retrained = {"count": counts["retrained"]}
    return {
        "originalModel": original
        and {"name": original["name"], "digest": {"sha256": original["sha256"]}},
        **({"retrainedModels": retrained} if _is_later(evidence) else {}),
        "weights": {item["name"]: {"sha256": item["weights_sha256"]} for item in model["audited"]},
        "data": {"sha256": evidence["data"]["digest"]},
        "forgetSet": {
            "commitment": evidence["data"]["forget_commitment"],
            **_given({"countBand": counts.get("forget_band")}),
        },
    }


def _test(statistic: Json, required: list[str]) -> Json:
    return {**{name: statistic[name] for name in _TEST}, "required": statistic["name"] in required}


def _given(values: dict[str, Any]) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _is_later(evidence: Json) -> bool:
    """Say whether the evidence was made by a version that speaks of parties, lineage or ledger."""
    return any(name in evidence for name in LATER)
