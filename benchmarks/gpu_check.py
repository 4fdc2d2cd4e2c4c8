"""What a GPU changes: its tests, half precision, a resnet18, the scoring pass beside others.

    python -m benchmarks.gpu_check    # under 8 minutes on a GPU

Without a GPU a small size runs on the CPU, and the JSON says so. Writes
``benchmarks/results/gpu_check.json`` after every part, so that what is done stays if time runs out.
A part or a library that fails says why in its place. captum and kronfluence take part if they are
installed. Memory is the peak above that before: of torch's allocator on CUDA.
"""

import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import torch
from torch.utils._pytree import tree_map

from benchmarks.report import machine, write
from benchmarks.scoring.cases import cnn_groupnorm, make_case, mlp, our_scores, problem_of
from benchmarks.scoring.peers import PEERS
from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.fitting._measure import Measure
from sam_attribution.training import ConformantNet, SAMMixin

SEED, N_REPEATS, N_VALID, N_CHECKPOINTS = 0, 3, 200, 3
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
# rows of the networks: MLP and CNN that are timed, resnet18
SIZES = {"mlp": 20_000, "cnn": 10_000, "resnet18": 5000} if ON_GPU else {
    "mlp": 500, "cnn": 100, "resnet18": 48,
}  # fmt: skip
BATCH_SIZES = {"vmap(grad)": 256, "captum fast": 256, "kronfluence": 256}


def cuda_tests():
    """The last line of pytest for the tests that ask for CUDA."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda", "tests/training"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180)
    return {"returned": run.returncode, "summary": (run.stdout.strip().splitlines() or [""])[-1]}


def half_precision():
    """Training in bf16 and fp16 beside float32: seconds, accuracy, distance of the weights."""
    case = make_case(mlp, (784,), SIZES["mlp"], N_VALID, 1, SEED)
    found = {precision: one_precision(case, precision) for precision in ("no", "bf16", "fp16")}
    wide = found["no"].pop("params")
    for each in (found["bf16"], found["fp16"]):
        each["distance"] = float((each.pop("params") - wide).norm() / wide.norm())
    return found


def one_precision(case, precision):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from skorch.hf import AccelerateMixin

    class Accelerated(SAMMixin, AccelerateMixin, ConformantNet):
        pass

    AcceleratorState._reset_state(reset_partial_state=True)  # else the first precision stays
    accelerator = Accelerator(cpu=not ON_GPU, mixed_precision=precision)
    settings = {"max_epochs": 3, "batch_size": 128, "lr": 0.05, "rho": 0.05, "random_state": SEED}
    torch.manual_seed(SEED)
    net = Accelerated(mlp(), accelerator=accelerator, callbacks__print_log__sink=print, **settings)
    measure = Measure(DEVICE)
    net.fit(case.X.numpy(), case.y.numpy())
    seconds, memory = measure.lap(), measure.peak_memory_mib()
    skipped = sum(step.skipped for step in net.trajectory_.schedule)
    accuracy = net.score(case.X_valid.numpy(), case.y_valid.numpy())
    params = net.trajectory_.states[-1].params.cpu()
    return {"seconds": seconds, "mib": memory, "skipped": skipped, "accuracy": accuracy} | {
        "params": params
    }


def resnet18():
    """Training and scores of a resnet18 for images of 3 x 32 x 32."""
    from torchvision.models import resnet18

    case = make_case(cnn_groupnorm, (3, 32, 32), SIZES["resnet18"], N_VALID, 1, SEED)
    X, y = case.X.numpy(), case.y.numpy()
    torch.manual_seed(SEED)
    classifier = SAMClassifier(
        resnet18(num_classes=10), max_epochs=2, batch_size=128, lr=0.02, trajectory=3,
        device=DEVICE, random_state=SEED,
    )  # fmt: skip
    validation = ValidationData(case.X_valid.numpy(), case.y_valid.numpy())
    found = {}
    for parameters in ("all", "head"):
        influence = SAMInfluence(classifier, validation=validation, parameters=parameters)
        diagnostics = influence.fit(X, y).diagnostics_.iloc[0]
        names = ("seconds_training", "seconds_scoring", "peak_memory_mib", "validation_accuracy")
        found[parameters] = {name: float(diagnostics[name]) for name in names}
    detector = MislabelDetector(classifier, validation=validation).fit(X, y)
    found["detector"] = {"seconds_scoring": float(detector.diagnostics_["seconds_scoring"].iloc[0])}
    return found


def scoring():
    """Seconds and memory of the scoring pass on two networks, ours and that of others."""
    return {
        "mlp": one_case(mlp, (784,), SIZES["mlp"]),
        "cnn_groupnorm": one_case(cnn_groupnorm, (3, 32, 32), SIZES["cnn"]),
    }


def one_case(build, shape, n_rows):
    case = on_device(make_case(build, shape, n_rows, N_VALID, N_CHECKPOINTS, SEED))
    problem = problem_of(case)
    found, scores = {}, {"ours": lambda: our_scores(case, problem)}
    for name, batch_size in BATCH_SIZES.items():
        found[name] = attempt(lambda n=name, b=batch_size: scores.update({n: PEERS[n](case, b)}))
    reference = scores["ours"]()
    for name, function in scores.items():
        found[name] = attempt(lambda f=function: timed(f, reference))
    return {"n_rows": n_rows, "libraries": found}


def timed(function, reference):
    """Seconds (median) and memory of scores, and how they agree with ours."""
    scores, seconds = function().to(reference), []
    for _ in range(N_REPEATS):
        measure = Measure(DEVICE)
        function()
        seconds.append(measure.lap())
    pearson = torch.corrcoef(torch.stack([scores, reference]).double())[0, 1]
    return {
        "seconds": statistics.median(seconds),
        "mib": measure.peak_memory_mib(),
        "pearson_with_ours": float(pearson),
    }


def on_device(case):
    """The case with its network, checkpoints and rows on the device."""
    parts = {name: getattr(case, name) for name in ("checkpoints", "X", "y", "X_valid", "y_valid")}
    return replace(
        case, module=case.module.to(DEVICE), **tree_map(lambda part: part.to(DEVICE), parts)
    )


def attempt(work):
    """The result of `work`, or the reason why there is none."""
    try:
        return work()
    except Exception as error:  # each part stands for itself
        return {"failed": f"{type(error).__name__}: {error}"[:300]}


def main():
    """Run every part, write the JSON after each."""
    warnings.simplefilter("ignore")
    content = {"machine": machine(SEED) | {"device": DEVICE}, "sizes": SIZES}
    if ON_GPU:
        content["machine"]["device"] = torch.cuda.get_device_name()
    else:
        content["note"] = "no CUDA device: a small size, on the CPU"
        print(content["note"], flush=True)
    for part in (cuda_tests, half_precision, scoring, resnet18):
        start = time.perf_counter()
        content[part.__name__] = attempt(part) | {"minutes": (time.perf_counter() - start) / 60}
        print(part.__name__, content[part.__name__], flush=True)
        write("gpu_check", content)


if __name__ == "__main__":
    main()
