"""Many leave-one-out models at once against one after another, on one thread.

    pip install -e ".[benchmarks]"
    python -m benchmarks.leave_one_out_speed

Three ways to go one after another: the recorded training replayed through skorch, the same pure
steps without a stack, and the leanest loop of plain torch. These retrain one model or a few, by
turns with the stacks of all. Writes ``benchmarks/results/leave_one_out_speed.json``.
"""

import copy
import json
import time
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.report import machine, write
from sam_attribution import SAMClassifier
from sam_attribution.problem import FunctionalTraining, problem_from_estimator
from sam_attribution.retraining import train_many
from sam_attribution.retraining._train_many import stack_size

SEED, N_MODELS, N_SINGLE, N_REPEATS = 0, 100, 3, 3


def mlp(*sizes):
    """Linear layers with GELU between them."""
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())]
    return nn.Sequential(*layers[:-1])


def cnn(side, first, second):
    """Two convolutions with batch norm on square grey images."""
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        *(nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * (side // 4) ** 2, 10)),
    )


CASES = {
    "digits MLP 64-32-10": (lambda: mlp(64, 32, 10), "digits", 300, 30, 15),
    "MLP 64-128-128-10": (lambda: mlp(64, 128, 128, 10), "digits", 300, 30, 15),
    "MLP 784-128-10": (lambda: mlp(784, 128, 10), 784, 640, 64, 2),
    "CNN 8x8, 8-16 channels": (lambda: cnn(8, 8, 16), "digits", 300, 30, 2),
    "CNN 28x28, 8-16 channels": (lambda: cnn(28, 8, 16), 784, 128, 32, 1),
}
SIZES = (2, 4, 8, 16, 32, 64, 100)


def one_case(build, data, n_rows, batch_size, epochs):
    """Seconds per model, one after another in three ways and in stacks of several sizes."""
    torch.manual_seed(SEED)
    X, y = rows_of(data, n_rows)
    clf = SAMClassifier(
        build(),
        max_epochs=epochs,
        batch_size=batch_size,
        lr=0.05,
        optimizer__momentum=0.9,
        random_state=SEED,
        trajectory=2,
    ).fit(X, y)
    program = FunctionalTraining(problem_from_estimator(clf, X, y))
    by_rule = stack_size(program.step(0).batch)
    sizes = sorted({min(by_rule, N_MODELS), *(s for s in SIZES if s <= max(4 * by_rule, 8))} - {1})
    ways = {
        "skorch replay": (lambda: list(clf.replay(X, y, 0, program.n_steps)), 1),
        "plain torch loop": (lambda: plain_loop(clf, X, y), 1),
        "pure steps one after another": (lambda: stack(program, N_SINGLE, 1), N_SINGLE),
    }
    ways |= {f"stacks of {size}": stack_way(program, size, by_rule) for size in sizes}
    seconds = alternately(ways)
    at_once = seconds[f"stacks of {min(by_rule, N_MODELS)}"] if by_rule > 1 else None
    at_once = at_once or seconds["pure steps one after another"]
    return {
        "n_params": len(program.problem.params),
        "n_steps": program.n_steps,
        "models_at_once": by_rule,
        "seconds_per_model": seconds,
        "times_faster_by_rule": {name: seconds[name] / at_once for name in list(ways)[:3]},
        "largest_difference": difference(program, by_rule),
    }


def stack_way(program, size, by_rule):
    """Train one stack; all of them where the rule says so, since the last one is smaller."""
    n_models = N_MODELS if size in (by_rule, N_MODELS) else size
    return (lambda: stack(program, n_models, size)), n_models


def stack(program, n_models, size):
    """Final parameters of models without one row each."""
    weights = torch.ones(n_models, len(program.problem.y))
    weights[range(n_models), range(n_models)] = 0
    stacks = train_many(program, program.start(), weights, models_at_once=size)
    return torch.cat([stack.states[0].params for stack in stacks])


def difference(program, by_rule):
    """Largest difference of final parameters between both ways, by rounding."""
    alone = stack(program, N_SINGLE, 1)
    return float((alone - stack(program, N_SINGLE, max(by_rule, N_SINGLE))).abs().max())


def plain_loop(clf, X, y):
    """One SAM training with nothing but torch: the least that a model alone can take."""
    module = copy.deepcopy(clf.module_)
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
    names = [name for name, _ in module.named_parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    X, y = torch.as_tensor(X), torch.as_tensor(y)

    def gradients(at, rows):
        output = torch.func.functional_call(module, dict(zip(names, at, strict=True)), (X[rows],))
        return torch.autograd.grad(nn.functional.cross_entropy(output, y[rows]), at)

    for step in clf.trajectory_.schedule:
        rows = torch.as_tensor(step.indices)
        found = gradients(parameters, rows)
        norm = torch.nn.utils.get_total_norm(found)
        moved = [
            (p.detach() + step.rho * g / norm).requires_grad_()
            for p, g in zip(parameters, found, strict=True)
        ]
        for p, g in zip(parameters, gradients(moved, rows), strict=True):
            p.grad = g
        optimizer.step()


def alternately(ways):
    """Least CPU seconds per model over the repeats; all ways take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(N_REPEATS):
        for name, (run, n_models) in ways.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) / n_models)
    return best


def rows_of(data, n_rows):
    """Digits, or random images: the time does not depend on what they show."""
    if data == "digits":
        X, y = load_digits(return_X_y=True)
        return (X[:n_rows] / 16).astype("float32"), y[:n_rows]
    generator = torch.Generator().manual_seed(SEED)
    X = torch.randn(n_rows, data, generator=generator)
    return X.numpy(), (torch.arange(n_rows) % 10).numpy()


def main():
    """Run all cases, write the JSON, print the summary."""
    torch.set_num_threads(1)
    content = {"machine": machine(SEED), "n_models": N_MODELS, "cases": {}}
    for name, settings in CASES.items():
        content["cases"][name] = case = one_case(*settings)
        print(name, json.dumps(case, indent=1), flush=True)
    write("leave_one_out_speed", content)


if __name__ == "__main__":
    main()
