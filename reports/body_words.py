"""The words of the body: kinds of derived artefacts, threat models, metrics and curves."""

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "checkpoint": "Checkpoint",
    "ema": "Averaged weights (EMA)",
    "adapter": "Adapter",
    "distilled": "Model distilled from it",
    "fine-tuned": "Model fine-tuned from it",
    "cache": "Cache",
    "embedding": "Embeddings or index",
    "backup": "Backup",
    "copy": "Copy",
    "other": "Other",
}

FATES: Mapping[str, tuple[str, str, str]] = {
    "unknown": ("?", "fate unknown", "outcome-error"),
    "kept": ("!", "kept", "outcome-inconclusive"),
    "unlearned": ("\u2713", "unlearned as well", "outcome-informative"),
    "deleted": ("\u2713", "deleted", "outcome-informative"),
}

BOXES: Mapping[str, tuple[str, str]] = {
    "label": ("black box", "sees labels"),
    "score": ("black box", "sees answers"),
    "gradient": ("grey box", "sees gradients"),
    "weights": ("white box", "sees weights"),
}

METRICS: Mapping[str, str] = {
    "auc": "area under the curve",
    "excess_auc": "area under the curve, beyond what is inferred anyway",
    "exposure_auc": "area under the curve of exposure",
    "penultimate_auc": "area under the curve, last features",
    "modified_entropy_auc": "area under the curve of modified entropy",
    "tpr_at_1_percent_fpr": "found at 1 % false alarms",
    "rho_p": "residual influence",
    "area_log_loss": "mean loss while relearning (nats)",
    "mean_log_distance": "log10 of the relative distance",
    "fgt_err_forget": "errors between the swapped classes",
    "zrf": "likeness, 1 is alike",
}

COUNTED_METRICS = ("tpr_", "balanced_accuracy")

CURVES: Mapping[str, str] = {
    "relearn": "How fast training on the deleted records brings them back. A model that kept "
    "something relearns faster than retrained ones.",
    "relearn_held_out": "The same, watched on deleted records that were not taught again. If they "
    "come back as well, something of them was left.",
    "relearn_head_reset": "The same with a fresh output layer: what comes back now lies in the "
    "features beneath it.",
    "layers": "How far the weights lie from the original's, layer by layer. Weights that hardly "
    "moved are a hint that the records are masked and not gone.",
    "layers_twin": "The same for a model trained on like the audited one, but without forgetting: "
    "the distance that training alone makes.",
    "buffers": "How far running averages lie from the original's. They are learnt as well.",
    "probe_layers": "How well a small classifier tells deleted from unseen records in the features "
    "of each layer. A clean model lies at retrained ones in all of them.",
}

CURVE_TITLES: Mapping[str, str] = {
    "relearn_held_out": "records not taught again",
    "relearn_head_reset": "fresh output layer",
    "layers_twin": "twin",
    "buffers": "running averages",
}
