"""What the words of the report mean, for readers who are no engineers."""

from forget_audit.reports.languages import Catalogue, message
from forget_audit.reports.view import Fact

# Words of the question first, then of the test, then of the paper.
TERMS = (
    (
        message("Model"),
        message(
            "A program whose behaviour was learnt from examples instead of being written by hand."
        ),
    ),
    (
        message("Audited model"),
        message(
            "The model that is said to have unlearned, and that this report is about. Its "
            "digest names the file."
        ),
    ),
    (
        message("Unlearning"),
        message(
            "Changing a trained model so that it behaves as if it had never seen certain data."
        ),
    ),
    (
        message("Deleted records"),
        message("The entries in the data that the request asks to remove from the model."),
    ),
    (
        message("Unseen records"),
        message(
            "Entries that no model here was trained on. They show what a model does with data "
            "it does not know."
        ),
    ),
    (
        message("Retrained models"),
        message(
            "Models trained from the beginning in the same way without the deleted records. "
            "They are the yardstick."
        ),
    ),
    (
        message("Originals"),
        message(
            "Models trained in the same way with the deleted records. They show what it looks "
            "like when nothing was forgotten."
        ),
    ),
    (
        message("Controller"),
        message("Whoever decides why and how personal data are used, and answers for it."),
    ),
    (
        message("Processor"),
        message(
            "Whoever handles personal data on behalf of the controller, such as a cloud provider."
        ),
    ),
    (
        message("Membership inference"),
        message("Guessing from a model's answers whether a record was among its training data."),
    ),
    (
        message("Residual influence"),
        message(
            "How much of what the deleted records did to a model is left: 0 as in a retrained "
            "model, 1 as in an original."
        ),
    ),
    (
        message("Margin"),
        message(
            "The largest difference from retrained models that still passes. It was fixed "
            "before the audit."
        ),
    ),
    (
        message("Interval"),
        message("The range in which the true difference lies, with the stated confidence."),
    ),
    (
        message("Equivalence"),
        message(
            "The whole interval lies inside the margin. That no difference was found is not enough."
        ),
    ),
    (
        message("Power"),
        message(
            "How likely an audit notices what there is to notice. An audit without power proves"
            " nothing."
        ),
    ),
    (
        message("p-value"),
        message(
            "How often chance alone would make a difference at least as large as the one seen. "
            "It is not the probability that the model has forgotten."
        ),
    ),
    (
        message("Verdict"),
        message(
            "PASS: shown equivalent. FAIL: shown different. INCONCLUSIVE: the evidence decides "
            "neither."
        ),
    ),
    (
        message("Digest"),
        message("A fingerprint of a file (SHA-256). Any change to the file gives another one."),
    ),
    (
        message("Electronic signature"),
        message(
            "A seal that only the holder of a key can make and that everybody can check. It "
            "breaks when the file changes."
        ),
    ),
    (
        message("Certificate (of a key)"),
        message("A small file that says whose key it is. It certifies nothing about the model."),
    ),
    (
        message("Attestation"),
        message(
            "The result as a signed statement that programs can check (formats: DSSE, in-toto)."
        ),
    ),
    (
        message("Ledger"),
        message("A register of all audits to which entries can only be added; later changes show."),
    ),
    (
        message("Checkpoint (of the ledger)"),
        message(
            "A signed statement of what the ledger held at one moment. Whoever keeps it can "
            "prove later changes."
        ),
    ),
    (
        message("Commitment"),
        message(
            "A number that fixes which records were meant without naming them. It can be opened"
            " later for one person."
        ),
    ),
    (
        message("Pseudonym"),
        message(
            "A code in the place of a name. With a secret kept apart it leads back to the "
            "person, so it is still personal data."
        ),
    ),
    (
        message("Purge"),
        message(
            "Destroying what the audit itself kept about the deleted records, with proof in the"
            " ledger."
        ),
    ),
)


def terms(t: Catalogue) -> tuple[Fact, ...]:
    """Return all terms with one or two short sentences each."""
    return tuple(Fact(label=t(term), text=t(meaning)) for term, meaning in TERMS)
