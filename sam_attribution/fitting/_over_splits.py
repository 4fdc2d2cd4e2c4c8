"""The same work for every split, in this process or in several, and the mean over the splits."""

import numpy as np
from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel


def over_splits(work, estimators, splits, X, y, sample_weight=None, *, n_jobs, verbose, desc):
    """Results of the same work for every split, in their order, with a progress bar.

    `work` is called by keywords, with `estimator`, `split`, `X`, `y`, `sample_weight` (of all rows
    given) and `n_jobs`: processes go to the splits if there are several, else to the rows of the
    only one.
    """
    single = len(splits) == 1
    data = {"X": X, "y": y, "sample_weight": sample_weight, "n_jobs": n_jobs if single else 1}
    pairs = zip(estimators, splits, strict=True)
    jobs = ({"estimator": estimator, "split": split, **data} for estimator, split in pairs)
    # a single split in this very thread, for which those that share its rows may wait
    found = (work(**job) for job in jobs) if single else in_parallel(work, jobs, n_jobs=n_jobs)
    return list(tqdm(found, desc=desc, unit="split", total=len(splits), disable=not verbose))


def mean_over_splits(rows, values, n_samples):
    """Mean over the splits that trained on a row, NaN where none did, (n_samples, ...).

    `rows` holds positions in the rows given to ``fit``, one array per split, `values` what was
    found for them.
    """
    total = np.zeros((n_samples, *values[0].shape[1:]))
    count = np.zeros(n_samples)
    for at, found in zip(rows, values, strict=True):
        total[at] += found
        count[at] += 1
    with np.errstate(invalid="ignore"):
        return (total.T / count).T
