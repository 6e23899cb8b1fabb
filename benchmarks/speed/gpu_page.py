"""The figures of a GPU as a page in Markdown."""

from benchmarks.speed import page as pages
from benchmarks.speed.clock import Json

NOT_MEASURED = "Not measured yet: this repository holds no result of `make bench-gpu`."
HEADING = """\
# Training on a GPU

Written by `make bench-gpu`. ResNet-18 and a small vision transformer on rows of the shape of
CIFAR-10, batched against one model after another on the same GPU; seconds by the clock.
"""
HEAD = ("architecture", "precision", "models", "loop, s", "ours, s", "loop / ours",
        "chosen, models at once", "peak memory, GB")  # fmt: skip


def page(result: Json | None) -> str:
    """Return the whole page."""
    return f"{HEADING}\n{block(result)}\n"


def block(result: Json | None) -> str:
    """Return machine and table, or that nothing was measured."""
    if result is None:
        return NOT_MEASURED
    rows = [
        (
            f"`{row['architecture']}`",
            row["precision"],
            str(row["models"]),
            f"{row['loop']:.2f}",
            f"{row['automatic']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['way']}, {row['at_once']}",
            "" if row["peak_gb"] is None else f"{row['peak_gb']:.1f}",
        )
        for row in result["rows"]
    ]
    told, settings = result["machine"], result["settings"]
    where = (
        f"{result['gpu']}, PyTorch {told['torch']}, {told['date']}. {settings['rows']} rows, "
        f"{settings['epochs']} epochs, batches of {settings['batch']}, medians of "
        f"{settings['rounds']} rounds. The loop was timed on {settings['looped']} models."
    )
    return f"{where}\n\n{pages.table(HEAD, rows)}"
