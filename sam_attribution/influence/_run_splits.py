"""One split after the other, or in several processes: the same bits."""

from contextlib import contextmanager
from threading import RLock

import torch
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from sam_attribution.influence._run import Run

_TURN = RLock()


def run_splits(arguments, n_splits, *, n_jobs, verbose):
    """Make the runs of all splits.

    Parameters
    ----------
    arguments : iterable of dict
        Arguments of each :class:`Run`, taken when it is about to start.
    n_splits : int
    n_jobs : int or None
    verbose : int
        Above 0 shows a progress bar.

    Returns
    -------
    list of Run
    """
    # no memory maps: they are read-only, and rows are trained on
    parallel = Parallel(
        n_jobs=1 if n_splits == 1 else n_jobs, return_as="generator", max_nbytes=None
    )
    job, n_threads = delayed(_run), torch.get_num_threads()
    runs = parallel(job(n_threads, each) for each in arguments)
    bar = tqdm(runs, desc="SAMInfluence", unit="split", total=n_splits, disable=not verbose)
    return list(bar)


def _run(n_threads, arguments):
    # threads of one process take turns: they share torch's random stream and forward mode
    with _TURN, _torch_threads(n_threads):
        return Run(**arguments)


@contextmanager
def _torch_threads(n_threads):
    """Compute with as many threads as the caller does: sums depend on it in their last bits."""
    before = torch.get_num_threads()
    if before == n_threads:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
