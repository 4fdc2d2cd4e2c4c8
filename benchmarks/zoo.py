"""Random small modules and settings: how many are scored as an explicit float64 computation says.

    pip install -e ".[test]"
    python -m benchmarks.zoo                      # 2000 draws; results/zoo.json after every 100
    python -m benchmarks.zoo --seed 338 --draws 1 # one of them

A draw is a function of its integer. It is equal to the explicit computation, refused by a
ValueError or TypeError that names a cause which holds for it, said (a warning names the cause), or
not checked (too badly conditioned, or without an explicit answer). Anything else is unexplained.
"""

import argparse
import time
from collections import Counter

import torch

from benchmarks.report import machine, write
from tests.zoo.checks import outcome
from tests.zoo.settings import draw


def counted(draws, outcomes):
    """Counts by outcome and cause, and what is unexplained with its settings."""
    pairs = list(zip(draws, outcomes, strict=True))
    kinds = ("equal", "refused", "said", "not checked", "unexplained")
    found = {kind: sum(each.kind == kind for each in outcomes) for kind in kinds}
    for kind in ("refused", "said", "not checked"):
        causes = Counter(each.detail for each in outcomes if each.kind == kind)
        found[f"{kind}, by cause"] = dict(causes.most_common())
    equal = Counter(each.method for each, how in pairs if how.kind == "equal")
    found["equal, by method"] = dict(sorted(equal.items()))
    found["what is unexplained"] = [
        {"seed": each.seed, "outcome": how.detail, "settings": each.differences()}
        for each, how in pairs
        if how.kind == "unexplained"
    ]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    draws, outcomes = [draw(asked.seed + number) for number in range(asked.draws)], []
    start = time.perf_counter()
    for each in draws:
        outcomes.append(outcome(each))
        if outcomes[-1].kind == "unexplained":
            print(each.seed, outcomes[-1].detail, each.differences(), flush=True)
        if len(outcomes) % 100 == 0:
            print(len(outcomes), dict(Counter(o.kind for o in outcomes)), flush=True)
            seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time()}
            head = {"machine": machine(asked.seed), "draws": len(outcomes)}
            write("zoo", head | counted(draws[: len(outcomes)], outcomes) | seconds)
    if asked.draws == 1:
        print(outcomes[0], draws[0])


if __name__ == "__main__":
    main()
