"""`scores.npz`: the per-row numbers behind a verdict, and the verdict computed from them again.

Arrays `logit_W_P` for models W in R (retrained), O (originals), A (audited), I (identity) and
rows P in f (forget), t (control), o (other classes of a class request); the same for `phi` and
`loss`; labels `y_P`, pseudonyms `id_P`, accuracy on retained rows `racc_W`; for requests of a
class with access to weights, what they betray, `probe_W`, `relearn_W` and `first_probe_W`; after
a coin-toss audit, its guesses and the right ones among them, `canary`; where models were asked
twice, log-odds of the second answers, `near_W_P` and `mode_W_P` (see `rehearsal`). In requests to
forget a label, classes are no and yes, `head_W` is how well the output ranks rows by the label,
and `tacc_W` is the accuracy of the other labels on never-trained rows. Where rows bear several
labels, `y_P` is a matrix of 0, 1 and -1 for unknown. Where a person has several rows, `unit_P` is
the pseudonym of the person behind each row, and the person is what is counted.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from tokenize import TokenError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.digests import plain, pseudonyms, sha256
from forget_audit.errors import VerificationError
from forget_audit.packed import check_archive
from forget_audit.questions import answers, asked, kept_labels
from forget_audit.types import Case, Floats, Json, Rows
from forget_audit.verdict.looks import looks_of
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.score_outputs import outputs_of
from forget_audit.verdict.summaries import summaries
from forget_audit.verdict.weighing import GROUPS, Group, Models

if TYPE_CHECKING:
    from forget_audit.targets import Target

Arrays = dict[str, npt.NDArray[Any]]
LETTERS: Mapping[Group, str] = dict(zip(GROUPS, "ROAI", strict=True))
TOLERANCE = 1e-9
UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, MemoryError, OverflowError, RuntimeError, TypeError,
    SyntaxError, BadZipFile, zlib.error, TokenError,
)  # fmt: skip
SUMMARIES = ("side_effects", "distributions")  # evidence of version 0.1.0 has none


def collect(
    groups: Mapping[Group, Sequence[Target]],
    case: Case,
    secret: bytes,
    traces: Mapping[Group, Mapping[str, Floats]] | None = None,
) -> Arrays:
    """Ask every model about every forget and never-trained row.

    Args:
        groups: The models of the audit.
        case: Forget, control and, for class requests, other test rows.
        secret: Of this audit; ids appear only as pseudonyms under it.
        traces: What the weights of each model betray, by group and name, if they were looked at.
    """
    roles = asked(case)
    held_out, retained = (kept_labels(rows, case) for rows in (case.never_trained, case.retain))
    arrays: Arrays = {}
    for part, rows in roles.items():
        arrays[f"y_{part}"] = rows.y
        arrays[f"id_{part}"] = pseudonyms(rows.ids, secret)
        if rows.units is not None:
            arrays[f"unit_{part}"] = pseudonyms(np.char.add("unit ", rows.units), secret)
    for group, letter in LETTERS.items():
        targets = groups[group]
        arrays[f"racc_{letter}"] = np.array([t.accuracy(retained) for t in targets])
        if case.attribute is not None:
            arrays[f"tacc_{letter}"] = np.array([t.accuracy(held_out) for t in targets])
        for part, rows in roles.items():
            arrays |= _answered(f"{letter}_{part}", targets, rows, case)
        for name, values in (traces or {}).get(group, {}).items():
            arrays[f"{name}_{letter}"] = values
    return arrays


def _answered(name: str, targets: Sequence[Target], rows: Rows, case: Case) -> Arrays:
    """Ask one model after the other about `rows`, and work out what follows at once.

    Logits are stored as float32 when nothing is lost by it, as with models that compute so.
    """
    classes = 2 if case.attribute is not None else case.n_classes
    size = len(targets), len(rows)
    logits: npt.NDArray[Any] = np.zeros((*size, classes), np.float32)
    phi, loss = np.zeros(size), np.zeros(size)
    for k, target in enumerate(targets):
        wide = answers(target, rows, case)
        with np.errstate(over="ignore"):  # what is too large for float32 differs from its infinity
            lossless = np.array_equal(wide.astype(np.float32), wide)
        if logits.dtype == np.float32 and not lossless:
            logits = logits.astype(np.float64)
        logits[k] = wide
        phi[k], loss[k] = stats.log_odds(wide, rows.y), stats.cross_entropy(wide, rows.y)
    return {f"logit_{name}": logits, f"phi_{name}": phi, f"loss_{name}": loss}


def to_bytes(arrays: Arrays) -> bytes:
    """Return the arrays as a compressed npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Arrays:
    """Read arrays from an npz file without unpickling anything.

    Raises:
        VerificationError: If the file is damaged or holds pickled objects.
    """
    try:
        check_archive(io.BytesIO(data), len(data))
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise VerificationError(f"scores.npz cannot be read: {error}") from error


def models_of(arrays: Arrays) -> Models:
    """Return the groups of models that the arrays describe.

    Raises:
        VerificationError: If an array is missing or has an odd shape.
    """
    try:
        groups = {group: outputs_of(arrays, letter) for group, letter in LETTERS.items()}
        return Models(**groups, canary=_canary(arrays))
    except KeyError as error:
        raise VerificationError(f"scores.npz lacks the array {error}") from error


def _canary(arrays: Arrays) -> tuple[int, int] | None:
    if "canary" not in arrays:
        return None
    if arrays["canary"].shape != (2,) or arrays["canary"].dtype.kind != "i":
        raise VerificationError("canary: expected two whole numbers")
    guesses, right = (int(value) for value in arrays["canary"])
    if not 0 <= right <= guesses or guesses < 1:
        raise VerificationError(f"canary: {right} right guesses of {guesses} are impossible")
    return guesses, right


def recompute(evidence: Json, scores: bytes) -> list[str]:
    """Compute statistics, gates and verdict again and say where the evidence differs.

    Numbers must agree to 1e-9, relative to one or to their size, whichever is larger.

    Args:
        evidence: The evidence as read.
        scores: Content of `scores.npz`.

    Returns:
        Differences in words; empty if there are none.
    """
    try:
        arrays = from_bytes(scores)
        battery = evidence["battery"]
        profile = PROFILES[battery["profile"]].at_attempt(battery.get("attempt", 1))
        scope = evidence["request"]["scope"]
        models = models_of(arrays)
        differences = _derived_differences(arrays)
        found = summaries(arrays)
        del arrays  # of which the verdict needs but a part
        looks = looks_of(battery, profile, canary=models.canary is not None)
        if looks is None:
            weighed = weigh(models, profile=profile, scope=scope)
        else:
            look, weighed = looks.settle(models, scope=scope)
            differences += _differences(
                "battery.sequential", battery["sequential"], looks.as_json(look)
            )
        again = weighed_json(weighed)
        again |= {key: found.get(key) for key in SUMMARIES if key in evidence}
    except VerificationError as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as error:
        return [f"the scores do not yield a verdict: {type(error).__name__}: {error}"]
    if evidence["battery"].get("profile_digest") != weighed.profile.digest():
        differences.append("battery.profile_digest is not that of the profile")
    settings = asdict(weighed.profile)
    differences += _differences("battery.settings", battery.get("settings"), settings)
    if evidence.get("digests", {}).get("scores") != sha256(scores):
        differences.append("digests.scores is not that of scores.npz")
    for key, value in again.items():
        differences += _differences(key, evidence.get(key), value)
    return differences


def weighed_json(weighed: Weighed) -> Json:
    """Return the parts of the evidence that follow from the scores alone."""
    known = weighed.control
    main = weighed.privacy.of("rho_p")
    profile = weighed.profile
    margins = {s.name: s.margin for s in weighed.statistics if s.margin is not None}
    fidelity_detail = (
        "the model as a whole can be told from a retrained one, not by the forgotten rows"
        if weighed.fidelity_differs
        else "as a whole the model was not told from a retrained one"
    )
    parts = {
        "verdict": weighed.verdict,
        "statistics": weighed.statistics,
        "gates": weighed.gates,
        "controls": {
            "original": {
                "estimate": float(known.main.effect.mean()),
                "low": known.main.effect_low,
                "required": profile.control_factor * margins["rho_p"],
                "n_eff": known.n_eff,
                "n_eff_required": profile.n_eff,
                "p_value": known.p_value,
            },
            "identity": [{"p_value": p} for p in known.identity],
            "power": {
                "pass_probability": known.pass_probability(margins, profile.alpha),
                "detectable_share": known.detectable(profile.alpha),
            },
        },
        "cloud": {
            "rho_p": {
                "retrained": main.reference,
                "originals": known.main.effect,
                "audited": main.audited,
            }
        },
        "fidelity": {
            "p_value": weighed.fidelity.p_value,
            "outcome": "fail" if weighed.fidelity_differs else "pass",
            "detail": fidelity_detail,
        },
    }
    result: Json = plain(parts)
    return result


def _derived_differences(arrays: Arrays) -> list[str]:
    """Check that the stored log-odds and losses are those of the stored logits."""
    differences = []
    for name, values in arrays.items():
        kind, _, rest = name.partition("_")
        if kind not in ("phi", "loss"):
            continue
        logits, labels = arrays[f"logit_{rest}"], arrays[f"y_{rest[-1]}"]
        score = stats.log_odds if kind == "phi" else stats.cross_entropy
        if values.shape != logits.shape[: values.ndim] or not all(
            np.allclose(own, score(answers.astype(np.float64), labels), rtol=0, atol=TOLERANCE)
            for own, answers in zip(values, logits, strict=True)
        ):
            differences.append(f"{name} does not follow from logit_{rest}")
    return differences


def _differences(place: str, found: Any, expected: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(set(expected) | set(found))
        return [
            d for k in keys for d in _differences(f"{place}.{k}", found.get(k), expected.get(k))
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, (a, b) in pairs for d in _differences(f"{place}[{i}]", a, b)]
    numbers = (int, float)
    if isinstance(expected, numbers) and isinstance(found, numbers):
        if abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)):
            return []
    elif found == expected:
        return []
    return [f"{place}: the evidence says {found!r}, the scores give {expected!r}"]
