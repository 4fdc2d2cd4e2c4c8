"""The same function many times, in this process or in several: the same bits."""

from contextlib import contextmanager
from threading import RLock

import torch
from sklearn.utils.parallel import Parallel, delayed

_TURN = RLock()


def in_parallel(function, arguments, *, n_jobs):
    """Yield what `function` makes of each dict of keyword `arguments`, in their order.

    `arguments` may be a generator: each is taken when it is about to start. `n_jobs` and
    ``joblib.parallel_config`` have joblib's meaning.
    """
    parallel = _parallel(n_jobs)
    job, n_threads = delayed(_call), torch.get_num_threads()
    return parallel(job(function, n_threads, each) for each in arguments)


def _parallel(n_jobs):
    # no memory maps: they are read-only, and rows are trained on
    try:
        return Parallel(n_jobs=n_jobs, max_nbytes=None, return_as="generator")
    except ValueError:  # multiprocessing, for one, gives all results at the end
        return Parallel(n_jobs=n_jobs, max_nbytes=None)


def _call(function, n_threads, arguments):
    # threads of one process take turns: they share torch's random stream and forward mode
    with _TURN, _torch_threads(n_threads):
        return function(**arguments)


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
