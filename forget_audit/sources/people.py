"""Records of people that come with statsmodels and scikit-learn."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import Dataset, positioned
from forget_audit.sources.noise import refuse_noise
from forget_audit.types import Sensitive


def randhie(_seed: int, label_noise: float) -> Dataset:
    """People of the RAND Health Insurance Experiment (statsmodels, public domain).

    The label is the number of outpatient visits in three groups: none, one to three, four or
    more. People of equal records are kept once; records whose physical limitation the study had
    to impute are left out, because that is the sensitive column.
    """
    import statsmodels.api as sm

    refuse_noise("randhie", label_noise)
    frame = sm.datasets.randhie.load_pandas().data
    frame = frame[frame["physlm"].isin([0, 1])]
    y = np.digitize(frame["mdvis"], [1, 4])
    table = frame.drop(columns="mdvis")
    x = table.to_numpy(dtype=np.float64)
    column = int(table.columns.get_loc("physlm"))
    mean, spread = x.mean(axis=0), x.std(axis=0)
    values = tuple(float(np.float32((v - mean[column]) / spread[column])) for v in (0.0, 1.0))
    title = (
        "RAND Health Insurance Experiment: outpatient visits in three groups, as bundled with "
        "statsmodels"
    )
    dataset = positioned("randhie", title, (x - mean) / spread, y)
    return replace(
        dataset,
        sizes=(700, 400, len(dataset.rows) - 1100),
        sensitive=Sensitive(column=column, name="physical limitation", values=values),
    )


def fair(_seed: int, label_noise: float) -> Dataset:
    """A magazine's survey of 1974 on marriage: 6,366 women (statsmodels, public domain).

    The label is whether the woman had an affair. Equal records are kept once.
    """
    import statsmodels.api as sm

    refuse_noise("fair", label_noise)
    frame = sm.datasets.fair.load_pandas().data
    title = "Redbook survey on marriage of 1974 (Fair, 1978), as bundled with statsmodels"
    table = frame.drop(columns="affairs").to_numpy(dtype=np.float64)
    return _standardised("fair", title, table, frame["affairs"] > 0, sizes=(1100, 400))


def anes96(_seed: int, label_noise: float) -> Dataset:
    """American election study of 1996: 944 voters (statsmodels, public domain).

    The label is the party in three groups: Democrats, independents and leaners, Republicans.
    """
    import statsmodels.api as sm

    refuse_noise("anes96", label_noise)
    frame = sm.datasets.anes96.load_pandas().data
    title = "American National Election Study of 1996, as bundled with statsmodels"
    table = frame.drop(columns="PID").to_numpy(dtype=np.float64)
    return _standardised("anes96", title, table, np.digitize(frame["PID"], [2, 5]), (500, 240))


def breast_cancer(_seed: int, label_noise: float) -> Dataset:
    """Breast tumours: 569 patients, 30 measures of cells (scikit-learn, from UCI).

    The label is whether the tumour was benign: two classes, for models with one output too.
    """
    from sklearn.datasets import load_breast_cancer

    refuse_noise("breast_cancer", label_noise)
    bunch = load_breast_cancer()
    title = "Breast cancer Wisconsin, diagnostic (UCI), as bundled with scikit-learn"
    return _standardised("breast_cancer", title, bunch.data, bunch.target, sizes=(260, 160))


def _standardised(
    name: str, title: str, x: npt.NDArray[np.float64], y: npt.ArrayLike, sizes: tuple[int, int]
) -> Dataset:
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    dataset = positioned(name, title, x, np.asarray(y, dtype=np.int64))
    return replace(dataset, sizes=(*sizes, len(dataset.rows) - sum(sizes)))
