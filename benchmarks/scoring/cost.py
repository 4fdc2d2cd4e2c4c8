"""What our scoring costs in forward passes, in memory and with size, and other ways to do it."""

from contextlib import nullcontext
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from torch.func import functional_call, jvp
from torch.profiler import ProfilerActivity, profile

from benchmarks.scoring.back_signals import back_signal_scores
from benchmarks.scoring.cases import (
    RATE,
    make_case,
    mlp,
    our_scores,
    problem_of,
    validation_queries,
)
from benchmarks.scoring.timing import against, seconds
from sam_attribution.probes import Probe, _tangents
from sam_attribution.problem import differentiable_kernels


def passes_per_row(case, n_rows=1000, n_repeats=5):
    """Time of scoring at one checkpoint over the time of a forward pass, several ways.

    All at the batch size of ``batch_size="auto"``, alternating with the forward pass; "ours" also
    at a half and twice that size (against a forward pass at the "auto" size).
    """
    problem = problem_of(case)
    probe, X = _probe(problem, case), case.X[:n_rows]
    size = problem.rows_per_pass
    ways = {name: _over_rows(X, size, way(problem, probe)) for name, way in WAYS.items()}
    for other in (size // 2, size * 2):
        ways[f"ours, {other} rows"] = _over_rows(X, other, _ours(problem, probe))
    result = against(_over_rows(X, size, _forward(problem, probe)), ways, n_repeats)
    return {"batch_size": size, "n_rows": len(X), "ways": result}


def memory_of_a_pass(case):
    """Peak bytes of scoring one batch and of one forward pass of it, inputs left out."""
    problem = problem_of(case)
    probe, X = _probe(problem, case), case.X[: problem.rows_per_pass]
    forward, ours = _forward(problem, probe), _ours(problem, probe)
    peaks = [_peak_bytes(lambda f=f: f(X)) for f in (forward, ours)]
    return {
        "batch_size": len(X),
        "forward_mib": peaks[0] / 2**20,
        "scoring_mib": peaks[1] / 2**20,
        "ratio": peaks[1] / peaks[0],
    }


def growth(n_rows, n_checkpoints, n_repeats=3):
    """Seconds over the number of rows and of checkpoints, with the slope in logarithms."""
    case = make_case(mlp, (784,), max(n_rows), 200, max(n_checkpoints), seed=0)
    fewer = [_part(case, n, 1) for n in n_rows]
    shorter = [_part(case, 4000, n) for n in n_checkpoints]
    return {
        "rows": _curve(n_rows, fewer, n_repeats),
        "checkpoints": _curve(n_checkpoints, shorter, n_repeats),
    }


def _part(case, n_rows, n_checkpoints):
    return replace(
        case,
        X=case.X[:n_rows],
        y=case.y[:n_rows],
        checkpoints=case.checkpoints[:n_checkpoints],
    )


def _curve(sizes, cases, n_repeats):
    problems = [problem_of(case) for case in cases]
    runs = [
        [seconds(lambda c=c, p=p: our_scores(c, p)) for c, p in zip(cases, problems, strict=True)]
        for _ in range(n_repeats)
    ]
    least = np.min(runs, axis=0)
    slope = np.polyfit(np.log(sizes), np.log(least), 1)[0]
    return {"sizes": list(sizes), "seconds": least.tolist(), "slope": float(slope)}


def _probe(problem, case):
    state = case.checkpoints[-1]
    point = problem.layout.flatten(state)
    buffers = {name: state[name] for name in problem.buffers}
    directions = validation_queries(problem, case).directions(point, buffers)
    return Probe(point, directions, buffers, rate=RATE)


def _over_rows(X, size, way):
    return lambda: [way(part) for part in X.split(size)]


def _forward(problem, probe):
    def way(X):
        with torch.no_grad():
            return problem.logits(probe.point, probe.buffers, X)

    return way


def _ours(problem, probe):
    return lambda X: probe.label_table(problem, X)


def _torchs_own_rules(problem, probe):
    def way(X):
        with mock.patch.object(_tangents, "LayerRules", nullcontext):
            return probe.label_table(problem, X)

    return way


def _channels_last(problem, probe):
    ours = _ours(problem, probe)
    return lambda X: ours(X.to(memory_format=torch.channels_last) if X.ndim == 4 else X)


def _double_backward(problem, probe):
    def way(X):
        with differentiable_kernels(problem.module):
            return _tangents.double_backward(problem, probe, X)

    return way


def _func_jvp(problem, probe):
    module, unflatten = problem.module, problem.layout.unflatten
    point, direction = unflatten(probe.point), unflatten(probe.directions[:, 0])

    def way(X):
        return jvp(
            lambda p: functional_call(module, (p, probe.buffers), (X,)), (point,), (direction,)
        )

    return way


def _back_signals(problem, probe):
    """No derivative in parameters: layer by layer ``<V a, delta>`` for the labels given.

    Activations ``a`` go through each Linear and Conv2d once more with the direction as weight.
    For one label per row only, and with the memory of a backward pass.
    """
    return lambda X: back_signal_scores(problem, probe, X)


def _peak_bytes(function):
    function()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        function()
    events = [e for e in run.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return float(np.cumsum(changes).max())


WAYS = {
    "ours": _ours,
    "torch's own layer rules": _torchs_own_rules,
    "channels_last": _channels_last,
    "torch.func.jvp": _func_jvp,
    "double backward": _double_backward,
    "back-signals": _back_signals,
}
