"""What all modules of this folder do alike: run what is missing, one case after the other."""

import time

import torch
from tqdm import tqdm

from benchmarks.papers.data import CIFAR_FILE
from benchmarks.report import machine, read, write

SEED = 0
# a method refuses a network, or the GPU has no memory left for it
REFUSALS = (ValueError, torch.OutOfMemoryError)


def run_missing(file, scale, cases, measure):
    """Measure the cases that the file of a scale lacks, and write it after each.

    `cases` are tuples of which the first is the name of an image set; `measure` takes one.
    """
    torch.set_num_threads(scale.n_threads)
    file += scale.suffix
    about = machine(SEED, ["torchvision"]) | scale.about
    content = read(file, {"machine": about, "cases": {}})
    missing = [case for case in cases if key(case) not in content["cases"]]
    for case in (bar := tqdm(missing, unit="case")):
        bar.set_description(key(case))
        if not scale.is_there(case[0]):
            tqdm.write(f"{key(case)} skipped: no {CIFAR_FILE} in SAM_ATTRIBUTION_DATA.")
            continue
        found, seconds = scale.timed(lambda case=case: measure(*case))
        content["cases"][key(case)] = found | {"minutes": seconds / 60}
        write(file, content)


def networks_named(names, seeds, scale):
    """Image sets, networks and seeds of a scale.

    All of them, if there are no `names` such as "mnist, ViT". `seeds` has the
    number of seeds of an image set; the others have one.
    """
    return [
        (images, network, seed)
        for seed in range(max(seeds.values(), default=1))
        for images in scale.images
        for network in scale.networks
        if seed < seeds.get(images, 1) and (not names or key((images, network)) in names)
    ]


def few_networks(names, seeds, scale):
    """Those named; by default all networks on mnist, and of other small sets the ResNet alone."""
    named = networks_named(names, seeds, scale)
    if names or scale.suffix:
        return named
    return [case for case in named if case[0] == "mnist" or case[1] == "ResNet"]


def key(case):
    return ", ".join(map(str, case))


def cpu_seconds(function):
    """Result, and CPU seconds of this process."""
    start = time.process_time()
    return function(), time.process_time() - start


def wall_seconds(function):
    """Result, and seconds by the clock, until a GPU has done its part."""
    start = time.perf_counter()
    found = function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, time.perf_counter() - start
