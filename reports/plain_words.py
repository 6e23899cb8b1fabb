"""The words of page one and of the receipt: what verdicts and reasons mean to a lay reader.

They are written to stay true when quoted alone. All of them are translated.
"""

from collections.abc import Mapping

from forget_audit.reports.languages import about_deleted, message

SYMBOLS: Mapping[str, str] = {"PASS": "\u2713", "FAIL": "\u2715", "INCONCLUSIVE": "?"}

WORDS: Mapping[str, str] = {
    "PASS": message("PASS"),
    "FAIL": message("FAIL"),
    "INCONCLUSIVE": message("INCONCLUSIVE"),
}

BANNERS: Mapping[str, str] = {
    "PASS": about_deleted(
        "The audited model treats the deleted records like models that never saw them, within "
        "the margin fixed before the audit."
    ),
    "RESIDUAL": about_deleted(
        "The audited model still treats the deleted records like those it was trained on."
    ),
    "OVERFORGET": about_deleted(
        "The audited model was pushed away from the deleted records further than a model that "
        "never saw them, which gives them away as well."
    ),
    "STREISAND": about_deleted("The audited model's answers on the deleted records stand out."),
    "MASK": message(
        "The audited model's answers look clean, but the forgotten class is still inside it."
    ),
    "UTILITY": message("Unlearning took more of the model's accuracy than was allowed."),
    "FAIL": about_deleted(
        "The audited model does not treat the deleted records like models that never saw them."
    ),
    "INCONCLUSIVE": about_deleted(
        "The evidence is not enough to say whether the deleted records are gone. This is not a "
        "pass."
    ),
}

REASONS: Mapping[str, str] = {
    "RESIDUAL": about_deleted(
        "The model still leans towards the deleted records, as models do that were trained on them."
    ),
    "OVERFORGET": about_deleted(
        "The model was pushed away from the deleted records, further than a model that never saw "
        "them; that gives them away as well."
    ),
    "STREISAND": about_deleted(
        "The model's answers on the deleted records stand out from those on records it never saw."
    ),
    "MASK": message("The model's answers look clean, but what lies beneath them does not."),
    "EPSILON": message("A randomised test showed that more leaks than was allowed."),
    "COPIES": message(
        "One of several audited models differs by itself more than one model may; the others hide "
        "it in the mean."
    ),
    "UTILITY": message("The model lost more accuracy than was allowed."),
    "REHEARSED": message(
        "Asked almost the same in another way, the model answers as if it had not forgotten: its "
        "answers seem made for the check."
    ),
    "TRIVIAL": message("A difference was found, and it was shown to lie inside the margin."),
    "FIDELITY": about_deleted(
        "The model as a whole can be told from a retrained one. This is not about the deleted "
        "records and does not decide the verdict."
    ),
    "NOT_SHOWN": message(
        "No difference was found, but the evidence is too thin to show that any lies inside the "
        "margin."
    ),
    "HARNESS": message(
        "The audit accused models that had truly been retrained, so its measurements cannot be "
        "relied on here."
    ),
    "NO_SIGNAL": about_deleted(
        "Models trained on the deleted records cannot be told clearly enough from models that "
        "never saw them. What cannot be seen before cannot be shown to be gone."
    ),
    "UNDERPOWERED": message("There are too few records to tell a small influence from chance."),
    "YARDSTICK": message(
        "There are too few retrained models to compare with, or they do not differ."
    ),
    "SHIFT": about_deleted(
        "The deleted records differ in kind from the unseen ones, so comparing them misleads."
    ),
    "TEST_ROWS": message(
        "The audited model seems to have been trained on the records that were to be unseen, so "
        "comparing with them hides what it still knows."
    ),
    "ACCESS": message("The claim needs deeper access to the model than the audit was given."),
}
OTHER_REASON = message("See the section on the verdict.")

SIGNATURE = (
    message("The signature says that the holder of the key below produced these exact bytes."),
    message("It does not say that the model forgot, or that a person agrees with this report."),
    message("It does not say that the clock was right: the date is the signer's own."),
)

MEASURES: Mapping[str, str] = {
    "rho_p": message("residual influence"),
    "rho": message("residual influence, log-odds"),
    "rho_top": message("residual influence, most memorised tenth"),
    "zauc": message("calibrated membership advantage"),
    "loss_auc": message("loss-based membership advantage"),
    "tpr1": message("members found at 1 % false alarms"),
    "dispersion": message("spread of calibrated scores"),
    "js": message("distance of answers from retrained"),
    "js_test": message("distance of answers, unseen records"),
    "entropy": about_deleted("hesitation on the deleted records"),
    "entropy_test": message("hesitation, unseen records"),
    "head": message("label told by its own output"),
    "probe": message("class found inside the model"),
    "first_probe": message("class found in the first layer"),
    "relearn": message("class relearnt with a fresh output layer"),
    "retain_accuracy": message("accuracy on kept records"),
    "test_accuracy": message("accuracy on unseen records"),
    "test_z": message("shift of scores on unseen records"),
    "label_shift": message("shift of predicted classes"),
}

KEYS: Mapping[str, str] = {
    "unattended": message("key used without a person present"),
    "passphrase": message("key used under a passphrase"),
    "token": message("key used inside a security token"),
}

KNOWN = (  # what the tool itself writes into the free texts that page one shows
    message("not stated"),
    message("restricted"),
    message("GDPR Art. 17"),
    message("the audit"),
    message("black-box answers with the training recipe"),
    message("answers and weights with the training recipe"),
    message("answers that were handed in, those of the retrained models too"),
)
