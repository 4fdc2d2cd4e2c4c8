"""What all modules of this folder do alike: run what is missing, one case after the other."""

import time

import torch
from tqdm import tqdm

from benchmarks.report import machine, read, write

SEED = 0
# a method refuses a network, or the GPU has no memory left for it
REFUSALS = (ValueError, torch.OutOfMemoryError)


def run_missing(file, size, cases, measure):
    """Measure the cases that the file of a size lacks, and write it after each.

    `cases` are tuples of which the first is the name of an image set; `measure` takes one.
    """
    torch.set_num_threads(size.n_threads)
    file += size.suffix
    about = machine(SEED, ["torchvision"]) | size.about
    content = read(file, {"machine": about, "cases": {}})
    missing = [case for case in cases if key(case) not in content["cases"]]
    for case in (bar := tqdm(missing, unit="case")):
        bar.set_description(key(case))
        if not size.is_there(case[0]):
            tqdm.write(f"{key(case)} skipped: its file is not in SAM_ATTRIBUTION_DATA.")
            continue
        found, seconds = size.timed(lambda case=case: measure(*case))
        content["cases"][key(case)] = found | {"minutes": seconds / 60}
        write(file, content)


def networks_named(names, seeds, size):
    """Image sets, networks and seeds of a size.

    All of them, if there are no `names` such as "mnist, ViT". `seeds` has the
    number of seeds of an image set; the others have one.
    """
    return [
        (images, network, seed)
        for seed in range(max(seeds.values(), default=1))
        for images in size.images
        for network in size.networks
        if seed < seeds.get(images, 1) and (not names or key((images, network)) in names)
    ]


def few_networks(names, seeds, size):
    """Those named; by default all networks on mnist, and of other small sets the ResNet alone."""
    named = networks_named(names, seeds, size)
    if names or size.suffix:
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
