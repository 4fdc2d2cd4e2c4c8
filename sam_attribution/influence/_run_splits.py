"""All splits, one after the other or several at once, and the mean over them."""

import numpy as np
from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel
from sam_attribution.influence._run import Run


def run_splits(arguments, n_splits, *, n_jobs, verbose):
    """Make the runs of all splits.

    Parameters
    ----------
    arguments : iterable of dict
        Arguments of each :class:`Run`, taken when it is about to start.
    n_splits : int
    n_jobs : int or None
        Goes to the splits if there are several, to the rows of the only one otherwise.
    verbose : int
        Above 0 shows a progress bar.

    Returns
    -------
    list of Run
    """
    if n_splits == 1:  # in this very thread, for which those that share its rows may wait
        runs = (Run(**each, n_jobs=n_jobs) for each in arguments)
    else:
        runs = in_parallel(Run, ({**each, "n_jobs": 1} for each in arguments), n_jobs=n_jobs)
    bar = tqdm(runs, desc="SAMInfluence", unit="split", total=n_splits, disable=not verbose)
    return list(bar)


def mean_over_runs(runs, found, n_samples):
    """Mean over the runs that trained on a row, NaN where none did.

    Parameters
    ----------
    runs : list of Run
    found : list of ndarray of shape (n_train, ...)
        What each run found for its training rows.
    n_samples : int
        Rows given to ``SAMInfluence.fit``.

    Returns
    -------
    ndarray of shape (n_samples, ...)
    """
    total = np.zeros((n_samples, *found[0].shape[1:]))
    count = np.zeros(n_samples)
    for run, values in zip(runs, found, strict=True):
        judged = run.train[run.visited]
        total[judged] += values[run.visited]
        count[judged] += 1
    with np.errstate(invalid="ignore"):
        return (total.T / count).T
