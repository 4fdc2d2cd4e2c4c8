"""Time several functions side by side."""

import statistics
import time
from dataclasses import replace


def seconds(function):
    """CPU seconds of one call: the wall-clock time of one thread on an idle machine."""
    start = time.process_time()
    function()
    return time.process_time() - start


def against(reference, functions, n_repeats):
    """Alternate every function with the reference, so that a busy machine slows both.

    Returns
    -------
    dict of str to dict
        Seconds (median), and the ratio to the mean of the reference runs just before and just
        after (median, least and greatest).
    """
    reference()
    runs = {name: [] for name in functions}
    before = seconds(reference)
    for _ in range(n_repeats):
        for name, function in functions.items():
            taken = seconds(function)
            after = seconds(reference)
            runs[name].append((taken, taken / ((before + after) / 2), after))
            before = after
    return {name: _summary(values) for name, values in runs.items()}


def _summary(values):
    taken, ratios, reference = zip(*values, strict=True)
    return {
        "seconds": statistics.median(taken),
        "seconds_reference": statistics.median(reference),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "n_repeats": len(values),
    }


def best_batch_size(peer, case, sizes, n_rows=256):
    """The batch size with which a peer is fastest on the first rows of a case, best of two."""
    few = replace(case, X=case.X[:n_rows], y=case.y[:n_rows], checkpoints=case.checkpoints[:1])
    return min(sizes, key=lambda size: min(seconds(peer(few, size)) for _ in range(2)))
