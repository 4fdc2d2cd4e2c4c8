"""Leave-one-out by the net's own training loop against pure steps, on one thread.

    pip install -e ".[benchmarks]"
    python -m benchmarks.real_loop

Both train the same models: a digits MLP 64-32-10, 300 rows, 15 epochs in batches of 30, SGD with
momentum, without each of 100 rows. Writes ``benchmarks/results/real_loop.json``.
"""

import time

import torch

from benchmarks.leave_one_out_speed import SEED, mlp, rows_of
from benchmarks.report import machine, write
from sam_attribution import SAMClassifier
from sam_attribution.problem import problem_from_estimator
from sam_attribution.retraining import LeaveOneOut

N_ROWS, N_REAL, N_REPEATS = 100, 5, 3


def seconds_per_model(problem, n_rows, real_loop):
    """CPU seconds for each model, that with every row counted."""
    start = time.process_time()
    LeaveOneOut(rows=range(n_rows), real_loop=real_loop).prepare(problem)
    return (time.process_time() - start) / (n_rows + 1)


def main():
    """Measure, write the JSON, print it."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    X, y = rows_of("digits", 300)
    clf = SAMClassifier(
        mlp(64, 32, 10), max_epochs=15, batch_size=30, lr=0.05, optimizer__momentum=0.9,
        random_state=SEED,
    )  # fmt: skip
    problem = problem_from_estimator(clf.fit(X, y), X, y)
    real, pure, alone = (
        min(seconds_per_model(problem, n_rows, real_loop) for _ in range(N_REPEATS))
        for n_rows, real_loop in ((N_REAL, True), (N_ROWS, False), (N_REAL, False))
    )
    content = {
        "machine": machine(SEED),
        "n_rows_left_out": N_ROWS,
        "seconds_per_model": {"real loop": real, "pure steps": pure, "pure steps, 5 rows": alone},
        "real loop over pure steps": real / pure,
        "real loop over pure steps, 5 rows": real / alone,
    }
    print(content)
    write("real_loop", content)


if __name__ == "__main__":
    main()
