"""Time and memory of scores for rows that a Dataset generates, against the same rows in an array.

    python -m benchmarks.rows_from_dataset [n_rows]     (200,000 rows: about 15 minutes)

Images 3 x 32 x 32 in float32, 12 KiB each, ten classes, one label in ten wrong; a small CNN. The
time is the CPU time for 4096 rows in both forms, the least of seven. The memory is the peak of the
process for all rows beyond what it was before, with an untrained model: as an array they would
take 2.3 GiB. Writes ``benchmarks/results/rows_from_dataset.json``. One thread.
"""

import resource
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.utils.data import Dataset

from benchmarks.report import machine, write
from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData

SEED = 0
N_CLASSES = 10
N_IN_TIME = 4096
METHODS = ("gif", "grad-dot", "trak")


class Generated(Dataset):
    """Images made of their number: the pattern of a class, and a pattern that says nothing."""

    def __init__(self, n_rows, first=0):
        generator = np.random.default_rng(SEED)
        self.patterns = generator.normal(size=(N_CLASSES + 97, 3, 32, 32)).astype(np.float32)
        self.n_rows, self.first = n_rows, first

    def __len__(self):
        return self.n_rows

    def __getitem__(self, i):
        number = self.first + i
        label = number % N_CLASSES
        image = self.patterns[label] + 2 * self.patterns[N_CLASSES + number % 97]
        wrong = number // N_CLASSES % 10 == 0
        return image, (label + 1) % N_CLASSES if wrong else label


def cnn():
    layers = (
        nn.Conv2d(3, 8, 5, stride=4), nn.GELU(), nn.Conv2d(8, 16, 3), nn.GELU(),
        nn.AvgPool2d(5), nn.Flatten(), nn.Linear(16, N_CLASSES),
    )  # fmt: skip
    return nn.Sequential(*layers)


class Peak(threading.Thread):
    """The most memory that the process holds, MiB, looked at 50 times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before, self.most = resident(), 0.0
        self.start()

    def run(self):
        while True:
            self.most = max(self.most, resident())
            time.sleep(0.02)

    @property
    def more(self):
        return self.most - self.before


def resident():
    """MiB that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def as_array(dataset):
    rows, labels = zip(*(dataset[i] for i in range(len(dataset))), strict=True)
    return np.stack(rows), np.array(labels)


def seconds(work, clock=time.perf_counter):
    start = clock()
    result = work()
    return result, clock() - start


def times(held_out):
    """CPU seconds to score rows of a trained net, from an array and from a Dataset."""
    dataset = Generated(N_IN_TIME)
    forms = {"array": as_array(dataset), "Dataset": (dataset, None)}
    torch.manual_seed(SEED)
    module, found = cnn(), []
    nets = {form: net(module).fit(*data) for form, data in forms.items()}
    for method in METHODS:
        line, scores = {"method": method}, {}
        for _ in range(7):  # in turn, so that both see the same machine
            for form, data in forms.items():
                influence = SAMInfluence(
                    FrozenEstimator(nets[form]),
                    method=method,
                    validation=held_out,
                    random_state=SEED,
                )
                fit = partial(influence.fit, *data)
                fitted, taken = seconds(fit, time.process_time)
                scores[form] = fitted.scores_
                line[form] = min(taken, line.get(form, taken))
        line["ratio"] = line["Dataset"] / line["array"]
        line["same_bits"] = bool(np.array_equal(scores["array"], scores["Dataset"]))
        found.append(line)
        print(line, flush=True)
    return found


def net(module, **settings):
    return SAMClassifier(
        module, max_epochs=1, batch_size=128, lr=0.05, trajectory=4, random_state=SEED, **settings
    )


def memory(n_rows, held_out):
    """Peak memory and seconds of training, scores and a detector for all rows."""
    dataset = Generated(n_rows)
    torch.manual_seed(SEED)
    module = cnn()
    net(module).fit(Generated(256))  # loads whatever is loaded
    peak = Peak()
    found = {"n_rows": n_rows, "mib_before": peak.before}
    trained, found["seconds_training"] = seconds(lambda: net(module).fit(dataset))
    for method in METHODS[:1]:
        influence = SAMInfluence(FrozenEstimator(trained), method=method, validation=held_out)
        _, found[f"seconds_{method}"] = seconds(partial(influence.fit, dataset))
        found[f"mib_more_{method}"] = peak.more
        print(found, flush=True)
    detector = MislabelDetector(FrozenEstimator(trained), validation=held_out)
    _, found["seconds_detector"] = seconds(lambda: detector.fit(dataset))
    found["mib_more"] = peak.more
    wrong = np.arange(n_rows) // N_CLASSES % 10 == 0
    found["wrong_among_suspicious"] = float(wrong[detector.suspicious_].mean())
    print(found, flush=True)
    return found


def main():
    torch.set_num_threads(1)
    n_rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    # a multiple of what the labels and patterns repeat after, so that other rows are held out
    held_out = ValidationData(Generated(500, first=n_rows))
    content = {"machine": machine(SEED), "memory": memory(n_rows, held_out)}
    write("rows_from_dataset", content | {"time": times(held_out)})


if __name__ == "__main__":
    main()
