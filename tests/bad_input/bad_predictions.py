"""Files of predictions that are not what they should be."""

import numpy as np

from tests.bad_input.bad_behaviour import ORDER
from tests.bad_input.prediction_edits import (
    as_probabilities,
    audit_file,
    each,
    fewer,
    first,
    most_of,
    of,
    people,
    shuffled,
    softmax,
)
from tests.bad_input.world import Trial

CHECKED = "PlanError"
TWO = [0, 1, 7, 3, 4, 5, 6, 2, 8, 9]

PREDICTIONS = [
    Trial(what="nothing: answers of a true retrain", play=audit_file(dict.copy), ending="PASS"),
    Trial(
        what="NaN",
        play=audit_file(of("logit_A_f", (0, 0, 0), np.nan)),
        ending=CHECKED,
        says="expected finite numbers, found 1",
    ),
    Trial(
        what="probabilities called logits",
        play=audit_file(each("logit", softmax)),
        ending=CHECKED,
        says="call them prob_R_f",
    ),
    Trial(
        what="the same, of the audited model alone",
        play=audit_file(each("logit_A", softmax)),
        ending=CHECKED,
        says="call them prob_A_f",
    ),
    Trial(
        what="logits called probabilities",
        play=audit_file(as_probabilities(np.copy)),
        ending=CHECKED,
        says="if these are logits, call them logit_R_f",
    ),
    Trial(
        what="probabilities that sum to 0.9",
        play=audit_file(as_probabilities(lambda logits: softmax(logits) * 0.9)),
        ending=CHECKED,
        says="expected sums of one",
    ),
    Trial(
        what="negative probabilities",
        play=audit_file(as_probabilities(lambda logits: softmax(logits) - 0.01)),
        ending=CHECKED,
        says="found the negative number",
    ),
    Trial(
        what="probabilities as they should be", play=audit_file(as_probabilities()), ending="PASS"
    ),
    Trial(
        what="complex answers",
        play=audit_file(each("logit_A", lambda values: values + 1j)),
        ending=CHECKED,
        says="found complex128",
    ),
    Trial(
        what="yes and no",
        play=audit_file(each("logit_A", lambda values: values > 0)),
        ending=CHECKED,
        says="found bool",
    ),
    Trial(
        what="answers of 1e300",
        play=audit_file(each("logit_A", lambda values: values * 1e300)),
        ending="FAIL",
    ),
    Trial(
        what="one answer to everything, of all models",
        play=audit_file(each("logit", np.zeros_like)),
        ending=CHECKED,
        says="expected models trained independently",
    ),
    Trial(
        what="classes of the retrained models in another order",
        play=audit_file(each("logit_R", lambda values: values[..., ORDER.numpy()])),
        ending=CHECKED,
        says="if their classes are put in another order",
    ),
    Trial(
        what="classes of one retrained model in another order",
        play=audit_file(first(3, lambda values: values[:, ORDER.numpy()])),
        ending=CHECKED,
        says="models 4 answer the retained rows far better",
    ),
    Trial(
        what="two classes exchanged in one retrained model",
        play=audit_file(first(3, lambda values: values[:, TWO])),
        ending=CHECKED,
        says="(class 2 for 7, 7 for 2: ",
    ),
    Trial(
        what="two classes exchanged in most retrained models",
        play=audit_file(each("logit_R", most_of(lambda values: values[..., TWO]))),
        ending=CHECKED,
        says="models 1, 2, 3, 4, 5 and 10 more answer the retained rows far better",
    ),
    Trial(
        what="classes of the audited model in another order, which the record notes",
        play=audit_file(each("logit_A", lambda values: values[..., ORDER.numpy()])),
        ending="FAIL",
        says="UTILITY",
    ),
    Trial(
        what="a class less for the audited model",
        play=audit_file(each("logit_A", lambda values: values[..., :9])),
        ending=CHECKED,
        says="expected 10 classes like the others, found 9",
    ),
    Trial(
        what="rows of the audited model in another order; nothing was unlearned",
        play=audit_file(shuffled("logit_A"), "original"),
        ending="FAIL",
    ),
    Trial(
        what="rows of the retrained models in another order; nothing was unlearned",
        play=audit_file(shuffled("logit_R"), "original"),
        ending="INCONCLUSIVE",
        says="HARNESS",
    ),
    Trial(
        what="rows of the originals in another order; nothing was unlearned",
        play=audit_file(shuffled("logit_O"), "original"),
        ending="FAIL",
        says="RESIDUAL",
    ),
    Trial(
        what="a label that is NaN",
        play=audit_file(of("y_f", 3, np.nan)),
        ending=CHECKED,
        says="expected whole numbers, found nan",
    ),
    Trial(
        what="labels as text",
        play=audit_file(each("y_", lambda values: values.astype(str))),
        ending=CHECKED,
        says="expected whole numbers, found type",
    ),
    Trial(
        what="a negative label",
        play=audit_file(of("y_f", 3, -1)),
        ending=CHECKED,
        says="expected labels from 0 to 9, found -1",
    ),
    Trial(
        what="labels counted from 1",
        play=audit_file(each("y_", lambda values: values + 1)),
        ending=CHECKED,
        says="count classes from 0",
    ),
    Trial(
        what="an empty id",
        play=audit_file(of("id_f", 0, "")),
        ending=CHECKED,
        says="expected a name for each row, found 1 empty",
    ),
    Trial(
        what="people missing for some rows",
        play=audit_file(people(lambda part, k: f"{part}{k // 2}" if k % 7 else "")),
        ending=CHECKED,
        says="expected a name for each row",
    ),
    Trial(
        what="one person behind all rows to forget",
        play=audit_file(people(lambda part, k: part if part == "f" else f"{part}{k // 2}")),
        ending="INCONCLUSIVE",
        says="UNDERPOWERED",
    ),
    Trial(
        what="no rows to forget",
        play=audit_file(fewer(0)),
        ending=CHECKED,
        says="expected at least 2 forget rows, found 0",
    ),
    Trial(
        what="one row to forget",
        play=audit_file(fewer(1)),
        ending=CHECKED,
        says="expected at least 2 forget rows, found 1",
    ),
]
