"""What all modules of this folder do alike: run what is missing, one case after the other."""

import time

import torch
from tqdm import tqdm

from benchmarks.papers import data
from benchmarks.papers.networks import NETWORKS
from benchmarks.report import machine, read, write

SEED = 0


def run_missing(file, cases, measure):
    """Measure the cases that the file lacks, and write it after each.

    `cases` are tuples of which the first is the name of an image set; `measure` takes one.
    """
    torch.set_num_threads(1)
    content = read(file, {"machine": machine(SEED, ["torchvision"]), "cases": {}})
    missing = [case for case in cases if key(case) not in content["cases"]]
    for case in (bar := tqdm(missing, unit="case")):
        bar.set_description(key(case))
        if not data.is_there(case[0]):
            tqdm.write(f"{key(case)} skipped: no {data.CIFAR_FILE} in SAM_ATTRIBUTION_DATA.")
            continue
        start = time.perf_counter()
        found = measure(*case)
        content["cases"][key(case)] = found | {"minutes": (time.perf_counter() - start) / 60}
        write(file, content)


def networks_named(names, seeds):
    """Image sets, networks and seeds; of all, if there are no names such as "mnist, ViT".

    `seeds` has the number of seeds of an image set; the others have one.
    """
    return [
        (images, network, seed)
        for seed in range(max(seeds.values(), default=1))
        for images in data.IMAGES
        for network in NETWORKS
        if seed < seeds.get(images, 1) and (not names or key((images, network)) in names)
    ]


def key(case):
    return ", ".join(map(str, case))


def cpu_seconds(function):
    """Result, and CPU seconds of this process."""
    start = time.process_time()
    return function(), time.process_time() - start
