"""The words of the report: what measures, conditions, reasons and outcomes mean, in plain text."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a statistic is named and read.

    Args:
        title: For tables.
        unit: Unit and direction.
    """

    title: str
    unit: str


MEASURES: Mapping[str, Measure] = {
    "rho_p": Measure(
        title="Residual influence",
        unit="share; 0 as retrained, 1 as never unlearned, below 0 over-removed",
    ),
    "rho": Measure(
        title="Residual influence, log-odds", unit="share; 0 as retrained, 1 as never unlearned"
    ),
    "rho_top": Measure(
        title="Residual influence, most memorised tenth",
        unit="share; 0 as retrained, 1 as never unlearned",
    ),
    "zauc": Measure(
        title="Calibrated membership advantage",
        unit="log-odds of the area under the curve; higher leaks more",
    ),
    "loss_auc": Measure(
        title="Loss-based membership advantage",
        unit="log-odds of the area under the curve; higher leaks more",
    ),
    "tpr1": Measure(
        title="Members found at 1 % false alarms", unit="log-odds of the rate; higher leaks more"
    ),
    "dispersion": Measure(
        title="Spread of calibrated scores",
        unit="log ratio, deleted to unseen records; either way shows",
    ),
    "js": Measure(
        title="Distance of answers from retrained",
        unit="log ratio, deleted to unseen records; higher stands out",
    ),
    "js_test": Measure(title="Distance of answers, unseen records", unit="log; higher stands out"),
    "entropy": Measure(
        title="Hesitation on the deleted records",
        unit="nats, deleted less unseen records; either way shows",
    ),
    "entropy_test": Measure(title="Hesitation, unseen records", unit="nats; either way shows"),
    "head": Measure(
        title="Label told by its own output",
        unit="share of the influence; 0 is a retrained model, 1 an original, below 0 the opposite",
    ),
    "probe": Measure(
        title="Class found inside the model",
        unit="share of the influence; 0 is a retrained model, 1 an original",
    ),
    "first_probe": Measure(
        title="Class found in the first layer",
        unit="share of the influence; 0 is a retrained model, 1 an original",
    ),
    "relearn": Measure(
        title="Class relearnt with a fresh output layer",
        unit="share of the influence; 0 is a retrained model, 1 an original",
    ),
    "retain_accuracy": Measure(title="Accuracy on kept records", unit="rate; higher is better"),
    "test_accuracy": Measure(title="Accuracy on unseen records", unit="rate; higher is better"),
    "test_z": Measure(
        title="Shift of scores on unseen records", unit="standard deviations; nearer 0 is better"
    ),
    "label_shift": Measure(
        title="Shift of predicted classes", unit="share of records; nearer 0 is better"
    ),
}

GATES: Mapping[str, str] = {
    "HARNESS": "The audit does not accuse a model that was truly retrained",
    "NO_SIGNAL": "The audit can see the deleted records in a model that was trained on them",
    "UNDERPOWERED": "There are enough records",
    "YARDSTICK": "There are enough retrained models, and they differ as seeds do",
    "SHIFT": "Deleted and unseen records are alike",
    "ACCESS": "The access given is enough for the claim",
    "UTILITY": "The model still does its work",
    "EPSILON": "A coin toss decided which records were learnt and deleted; it cannot be guessed",
}

REASONS: Mapping[str, str] = {
    "RESIDUAL": "The model still leans towards the deleted records, as models do that were trained "
    "on them.",
    "OVERFORGET": "The model was pushed away from the deleted records, further than a model that "
    "never saw them; that gives them away as well.",
    "STREISAND": "The model's answers on the deleted records stand out from those on records it "
    "never saw.",
    "MASK": "The model's answers look clean, but what lies beneath them does not.",
    "EPSILON": "A randomised test showed that more leaks than was allowed.",
    "UTILITY": "The model lost more accuracy than was allowed.",
    "TRIVIAL": "A difference was found, and it was shown to lie inside the margin.",
    "FIDELITY": "The model as a whole can be told from a retrained one. This is not about the "
    "deleted records and does not decide the verdict.",
    "NOT_SHOWN": "No difference was found, but the evidence is too thin to show that any lies "
    "inside the margin.",
    "HARNESS": "The audit accused models that had truly been retrained, so its measurements cannot "
    "be relied on here.",
    "NO_SIGNAL": "Models trained on the deleted records cannot be told clearly enough from models "
    "that never saw them. What cannot be seen before cannot be shown to be gone.",
    "UNDERPOWERED": "There are too few records to tell a small influence from chance.",
    "YARDSTICK": "There are too few retrained models to compare with, or they do not differ.",
    "SHIFT": "The deleted records differ in kind from the unseen ones, so comparing them misleads.",
    "ACCESS": "The claim needs deeper access to the model than the audit was given.",
}

BANNERS: Mapping[str, str] = {
    "PASS": "The audited model treats the deleted records like models that never saw them, within "
    "the margin fixed before the audit.",
    "RESIDUAL": "The audited model still treats the deleted records like those it was trained on.",
    "OVERFORGET": "The audited model was pushed away from the deleted records further than a model "
    "that never saw them, which gives them away as well.",
    "STREISAND": "The audited model's answers on the deleted records stand out.",
    "MASK": "The audited model's answers look clean, but the forgotten class is still inside it.",
    "UTILITY": "Unlearning took more of the model's accuracy than was allowed.",
    "FAIL": "The audited model does not treat the deleted records like models that never saw them.",
    "INCONCLUSIVE": "The evidence is not enough to say whether the deleted records are gone. This "
    "is not a pass.",
}

SYMBOLS: Mapping[str, str] = {"PASS": "\u2713", "FAIL": "\u2715", "INCONCLUSIVE": "?"}

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "pass": ("\u2713", "pass"),
    "fail": ("\u2715", "fail"),
    "inconclusive": ("?", "inconclusive"),
    "not-applicable": ("\u2013", "not applicable"),
    "not-run": ("\u2013", "not run"),
    "error": ("!", "error"),
    "informative": ("\u00b7", "informative"),
}

SIGNATURE = (
    "The signature says that the holder of the key below produced these exact bytes.",
    "It does not say that the model forgot, or that a person agrees with this report.",
    "It does not say that the clock was right: the date is the signer's own.",
)

ROLES: Mapping[str, str] = {
    "primary": "Decides: must be shown equivalent",
    "secondary": "Watches: a difference fails the audit",
    "whitebox": "Watches the inside: a difference fails the audit",
    "fidelity": "For information: the model as a whole",
}

GUARANTEES: Mapping[str, str] = {
    "none": "none by construction; the evidence is this audit",
    "exact": "exact by construction",
    "certified": "certified within stated assumptions",
}

CLAIMS: Mapping[str, str] = {
    "artifact": "about the one model file named in this report",
    "algorithm": "about the unlearning method on this request, over independent copies",
    "artifact and canary": "about the one model file named in this report, and about the method "
    "on records that a coin toss chose",
    "algorithm and canary": "about the unlearning method, over independent copies and on records "
    "that a coin toss chose",
}

GLOSSARY = (
    ("Audited model", "The model that is said to have unlearned; the digest names its file."),
    ("Deleted records", "The rows the request asks to remove from the model."),
    ("Unseen records", "Rows that no model here was trained on; the control group."),
    ("Retrained models", "Models trained from scratch by the same recipe without the deleted "
     "records, with different random seeds: the yardstick."),
    ("Originals", "Models trained by the auditor by the same recipe with the deleted records."),
    ("Residual influence", "How much of the effect that training on the deleted records has on a "
     "model's answers is left: 0 as in a retrained model, 1 as in an original."),
    ("Margin", "The largest difference that still passes, fixed before the audit."),
    ("Interval", "The range in which the true difference lies with the stated confidence."),
    ("Equivalence", "The whole interval lies inside the margins. Finding no difference is not "
     "enough."),
    ("Membership inference", "Guessing from a model's answers whether a record was among its "
     "training data."),
    ("Digest", "A fingerprint of a file (SHA-256): any change gives another one."),
    ("DSSE, in-toto", "Open formats for signed statements that programs can check."),
)  # fmt: skip
