"""The same function many times, in this process or in several: the same bits."""

import os
from contextlib import contextmanager

import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sam_attribution._turns import each_in, exclusive, is_pinned, released
from sam_attribution._warnings import collected_warnings, warn


def in_parallel(function, arguments, *, n_jobs):
    """Yield what `function` makes of each dict of keyword `arguments`, in their order.

    `arguments` may be a generator: each is taken when it is about to start. `n_jobs` and
    ``joblib.parallel_config`` have joblib's meaning; within a training, which a callback may call
    this from, all is done in this thread. Warnings of other processes are issued here.
    """
    if is_pinned() or effective_n_jobs(n_jobs) == 1:
        for each in arguments:
            with exclusive():
                found = function(**each)
            yield found
        return
    job, here, n_threads = delayed(_call), os.getpid(), torch.get_num_threads()
    # joblib asks for the next arguments in a thread of its own
    calls = (job(function, here, n_threads, each) for each in each_in(exclusive, arguments))
    with released():
        results = _parallel(n_jobs)(calls)
    for found, said in each_in(released, results):
        for message, category in said:
            warn(message, category)
        yield found


def _parallel(n_jobs):
    # no memory maps: they are read-only, and rows are trained on
    try:
        return Parallel(n_jobs=n_jobs, max_nbytes=None, return_as="generator")
    except ValueError:  # multiprocessing, for one, gives all results at the end
        return Parallel(n_jobs=n_jobs, max_nbytes=None)


def _call(function, caller, n_threads, arguments):
    with exclusive(), _torch_threads(n_threads):
        if os.getpid() == caller:  # its threads share what collects warnings
            return function(**arguments), ()
        with collected_warnings() as said:
            found = function(**arguments)
        return found, said


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
