"""The words of the report: what measures, conditions, reasons and outcomes mean, in plain text."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a statistic is named and read.

    Args:
        title: For tables.
        unit: Unit and direction.
        purpose: What it looks for.
        inside: Whether it needs the weights, and not the answers alone.
        counted: Whether its value betrays the number of rows it was counted on.
    """

    title: str
    unit: str
    purpose: str
    inside: bool = False
    counted: bool = False


SHARE = "share of the influence; 0 is a retrained model, 1 an original"
MEASURES: Mapping[str, Measure] = {
    "rho_p": Measure(
        title="Residual influence",
        unit="share; 0 as retrained, 1 as never unlearned, below 0 over-removed",
        purpose="How much of what training on the deleted records did to a model is left.",
    ),
    "rho": Measure(
        title="Residual influence, log-odds",
        unit="share; 0 as retrained, 1 as never unlearned",
        purpose="The same on a scale on which very sure answers count more.",
    ),
    "rho_top": Measure(
        title="Residual influence, most memorised tenth",
        unit="share; 0 as retrained, 1 as never unlearned",
        purpose="The same for the tenth of the records that leave the strongest mark.",
    ),
    "zauc": Measure(
        title="Calibrated membership advantage",
        unit="log-odds of the area under the curve; higher leaks more",
        purpose="Whether deleted records can be told from unseen ones, record by record.",
    ),
    "loss_auc": Measure(
        title="Loss-based membership advantage",
        unit="log-odds of the area under the curve; higher leaks more",
        purpose="Whether deleted records can be told from unseen ones by their losses alone.",
    ),
    "tpr1": Measure(
        title="Members found at 1 % false alarms",
        unit="log-odds of the rate; higher leaks more",
        purpose="Whether some deleted records can be pointed at almost without mistakes.",
        counted=True,
    ),
    "dispersion": Measure(
        title="Spread of calibrated scores",
        unit="log ratio, deleted to unseen records; either way shows",
        purpose="Whether deleted records were pushed about, in whichever direction.",
    ),
    "js": Measure(
        title="Distance of answers from retrained",
        unit="log ratio, deleted to unseen records; higher stands out",
        purpose="Whether answers on deleted records stray from those of retrained models.",
    ),
    "js_test": Measure(
        title="Distance of answers, unseen records",
        unit="log; higher stands out",
        purpose="The same on unseen records of the class.",
    ),
    "entropy": Measure(
        title="Hesitation on the deleted records",
        unit="nats, deleted less unseen records; either way shows",
        purpose="Whether the model is surer, or less sure, on deleted records than it should be.",
    ),
    "entropy_test": Measure(
        title="Hesitation, unseen records",
        unit="nats; either way shows",
        purpose="The same on unseen records of the class.",
    ),
    "head": Measure(
        title="Label told by its own output",
        unit=f"{SHARE}, below 0 the opposite",
        purpose="Whether the output for the forgotten label still knows it.",
    ),
    "probe": Measure(
        title="Class found inside the model",
        unit=SHARE,
        purpose="Whether a few examples find the class again in the features before the output.",
        inside=True,
    ),
    "first_probe": Measure(
        title="Class found in the first layer",
        unit=SHARE,
        purpose="Whether a few examples find the class again in the features of the first layer.",
        inside=True,
    ),
    "relearn": Measure(
        title="Class relearnt with a fresh output layer",
        unit=SHARE,
        purpose="Whether the class comes back after a moment of training.",
        inside=True,
    ),
    "retain_accuracy": Measure(
        title="Accuracy on kept records",
        unit="rate; higher is better",
        purpose="Whether the model still does its work on the records it keeps.",
    ),
    "test_accuracy": Measure(
        title="Accuracy on unseen records",
        unit="rate; higher is better",
        purpose="Whether the model still does its work on records it never saw.",
    ),
    "test_z": Measure(
        title="Shift of scores on unseen records",
        unit="standard deviations; nearer 0 is better",
        purpose="Whether unlearning moved answers that have nothing to do with the request.",
    ),
    "label_shift": Measure(
        title="Shift of predicted classes",
        unit="share of records; nearer 0 is better",
        purpose="Whether the model favours other classes than retrained models do.",
    ),
}
WHOLE_CLASS: Mapping[str, str] = {
    "js": "log, deleted records alone; higher stands out",
    "entropy": "nats, deleted records alone; either way shows",
}

GATES: Mapping[str, str] = {
    "HARNESS": "The audit does not accuse a model that was truly retrained",
    "NO_SIGNAL": "The audit can see the deleted records in a model that was trained on them",
    "UNDERPOWERED": "There are enough records",
    "YARDSTICK": "There are enough retrained models, and they differ as seeds do",
    "SHIFT": "Deleted and unseen records are alike",
    "ACCESS": "The access given is enough for the claim",
    "TEST_ROWS": "The unseen records are unseen to the audited model too",
    "COPIES": "Each of the audited models by itself lies inside the margin of one",
    "UTILITY": "The model still does its work",
    "REHEARSED": "Asked in another way, the model answers as retrained models do",
    "EPSILON": "A coin toss decided which records were learnt and deleted; it cannot be guessed",
}

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "pass": ("\u2713", "pass"),
    "fail": ("\u2715", "fail"),
    "inconclusive": ("?", "inconclusive"),
    "not-applicable": ("\u2013", "not applicable"),
    "not-run": ("\u2013", "not run"),
    "error": ("!", "error"),
    "informative": ("\u00b7", "informative"),
}

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
