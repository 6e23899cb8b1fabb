"""The verdict in sentences: what the banner says, the headline with its figures, the reasons."""

from forget_audit.reports import numbers, plain_words
from forget_audit.reports.languages import Catalogue, about_deleted
from forget_audit.types import Json

_LEFT = about_deleted(
    "About {share} of the measurable influence of the deleted records is still in the model "
    "(between {low} and {high}; {margin} would have been allowed)."
)
_BEYOND = about_deleted(
    "The model was pushed about {share} of the measurable influence of the deleted records beyond "
    "where retrained models lie (between {low} and {high}; {margin} would have been allowed)."
)


def labels_only(evidence: Json) -> bool:
    """Say whether only a label of the records is to be forgotten."""
    return bool(evidence["request"]["scope"] == "attribute")


def sentence(evidence: Json, t: Catalogue) -> str:
    """Return the verdict in one plain sentence; of several failures the first that has one."""
    verdict = evidence["verdict"]
    codes = verdict["reasons"] if verdict["outcome"] == "FAIL" else ()
    code = next((code for code in codes if code in plain_words.BANNERS), verdict["outcome"])
    return t.deleted(plain_words.BANNERS[code], labels=labels_only(evidence))


def counts(evidence: Json, t: Catalogue) -> str:
    """Return how many of how many tests, conditions and measures; never a bare colour."""
    required = evidence["battery"]["required"]
    tests = [item for item in evidence["statistics"] if item["name"] in required]
    watched = [item for item in evidence["statistics"] if item["role"] in ("secondary", "whitebox")]
    gates = evidence["gates"]
    return t(
        "Required tests within the margin: {shown} of {required} · conditions met: {met} of "
        "{gates} · further measures that differ: {differ} of {watched}",
        shown=sum(item["outcome"] == "pass" for item in tests),
        required=len(required),
        met=sum(item["outcome"] != "fail" for item in gates),
        gates=len(gates),
        differ=sum(item["outcome"] == "fail" for item in watched),
        watched=len(watched),
    )


def found(evidence: Json, t: Catalogue) -> tuple[str, ...]:
    """Return the headline with its figures, then the reasons in plain words."""
    verdict = evidence["verdict"]
    headline = {"PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided}[verdict["outcome"]]
    reasons = (
        f"{t.deleted(text, labels=labels_only(evidence))} ({code})"
        for code in verdict["reasons"]
        for text in (plain_words.REASONS.get(code, plain_words.OTHER_REASON),)
    )
    return (headline(evidence, t), *reasons)


def _main(evidence: Json) -> Json | None:
    return next((item for item in evidence["statistics"] if item["role"] == "primary"), None)


def _passed(evidence: Json, t: Catalogue) -> str:
    bound, main, labels = (
        evidence["verdict"]["attained_bound"],
        _main(evidence),
        labels_only(evidence),
    )
    if bound is None:
        return t.deleted(
            "The measurable influence of the deleted records that remains in the model (or was "
            "over-removed) lies within the margin.",
            labels=labels,
        )
    share = t.percent(bound, "up")
    confidence = t.percent(1 - numbers.error_level(evidence), "exact")
    if main is None or not main["margin"]:
        return t.deleted(
            "At most {share} of the measurable influence of the deleted records remains in the "
            "model (or was over-removed), with {confidence} confidence.",
            labels=labels, share=share, confidence=confidence,
        )  # fmt: skip
    return t.deleted(
        "At most {share} of the measurable influence of the deleted records remains in the model "
        "(or was over-removed), with {confidence} confidence; {allowed} was allowed.",
        labels=labels, share=share, confidence=confidence,
        allowed=t.percent(main["margin"], "exact"),
    )  # fmt: skip


def _failed(evidence: Json, t: Catalogue) -> str:
    main, labels = _main(evidence), labels_only(evidence)
    if main is None or main["outcome"] != "fail" or main["difference"] is None:
        differing = [item["name"] for item in evidence["statistics"] if item["outcome"] == "fail"]
        named = [
            t.deleted(plain_words.MEASURES[name], labels=labels)
            for name in differing
            if name in plain_words.MEASURES
        ]
        what = ", ".join(named) or t("accuracy")
        return t("The model differs from retrained models beyond chance in: {what}.", what=what)
    low, high = (t.percent(end) for end in main["interval"])
    text = _LEFT if main["difference"] >= 0 else _BEYOND
    return t.deleted(
        text, labels=labels, share=t.percent(abs(main["difference"])), low=low, high=high,
        margin=t.percent(main["margin"], "exact"),
    )  # fmt: skip


def _undecided(evidence: Json, t: Catalogue) -> str:
    main, power = _main(evidence), evidence["controls"]["power"]["detectable_share"]
    parts = [
        t.deleted(
            "The audit cannot tell whether the deleted records are gone.",
            labels=labels_only(evidence),
        )
    ]
    if main is not None and None not in main["interval"]:
        low, high = (t.percent(end) for end in main["interval"])
        parts.append(
            t(
                "What remains of their influence lies anywhere between {low} and {high}.",
                low=low, high=high,
            )
        )  # fmt: skip
    if power is not None:
        parts.append(
            t(
                "Only a remainder above {power} would have been noticed reliably.",
                power=t.percent(power, "up"),
            )
        )
    return " ".join(parts)
