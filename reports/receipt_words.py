"""What the receipt says of results, of things derived from a model, and of their fate."""

from collections.abc import Mapping

from forget_audit.reports.languages import message

HEADINGS: Mapping[str, str] = {
    "PASS": message("The check was passed"),
    "FAIL": message("The check was not passed"),
    "INCONCLUSIVE": message("The check could not decide"),
}
PASSED = message(
    "The model now treats the data named in your request like data that it has never seen, within "
    "limits that were fixed before the check. This is no proof that nothing at all is left."
)
UNDECIDED = message(
    "The check could not tell whether the data named in your request have left traces in the "
    "model. This is not a pass: traces may remain."
)
TRACES = message("The model still shows traces of the data named in your request.")
CONSPICUOUS = message(
    "The model treats the data named in your request in a conspicuous way. That can give away that "
    "they were once used."
)
FAILED: Mapping[str, str] = {
    "RESIDUAL": TRACES,
    "MASK": TRACES,
    "EPSILON": TRACES,
    "REHEARSED": TRACES,
    "COPIES": TRACES,
    "OVERFORGET": CONSPICUOUS,
    "STREISAND": CONSPICUOUS,
    "UTILITY": message("Removing the data damaged the model more than was allowed."),
}
DIFFERS = message(
    "The model does not treat the data named in your request like data that it has never seen."
)
KINDS: Mapping[str, str] = {
    "checkpoint": message("earlier versions of the model"),
    "ema": message("averaged versions of the model"),
    "adapter": message("add-on parts of the model"),
    "distilled": message("smaller models that learnt from it"),
    "fine-tuned": message("models developed further from it"),
    "cache": message("temporary copies of the data"),
    "embedding": message("search indexes made from the data"),
    "backup": message("backup copies"),
    "copy": message("copies of the model"),
    "other": message("other things made from the data"),
}
FATES: Mapping[str, str] = {
    "deleted": message("Deleted as well: {things}."),
    "unlearned": message("Changed like the model: {things}."),
    "kept": message("Kept: {things}."),
    "unknown": message("Not known what became of: {things}."),
}
