"""The cases of ``benchmarks/papers``: which there are, and that no measurement is lost."""

from types import SimpleNamespace

import pytest

from benchmarks import report
from benchmarks.papers.setting.cases import few_networks, key, networks_named, run_missing

SIZE = SimpleNamespace(
    images=("mnist", "CIFAR-10"),
    networks=("ResNet", "ViT"),
    suffix="",
    n_threads=1,
    about={},
    is_there=lambda name: name != "CIFAR-10",
    timed=lambda function: (function(), 120.0),
)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "_PACKAGES", ())
    monkeypatch.setattr("benchmarks.papers.setting.cases.machine", lambda *_: {})
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)


def test_a_broken_run_goes_on_where_it_stopped():
    measured = []

    def measure(name, number):
        measured.append(number)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return {"number": number}

    cases = [("mnist", number) for number in range(4)]
    with pytest.raises(KeyboardInterrupt):
        run_missing("trial", SIZE, cases, measure)
    run_missing("trial", SIZE, cases, measure)
    assert measured == [0, 1, 2, 2, 3]
    found = report.read("trial")["cases"]
    assert found == {f"mnist, {n}": {"number": n, "minutes": 2} for n in range(4)}


def test_a_set_without_its_file_is_skipped_and_said(capsys):
    run_missing("trial", SIZE, [("CIFAR-10", 0), ("mnist", 0)], lambda *_: {})
    assert list(report.read("trial")["cases"]) == ["mnist, 0"]
    assert (
        "CIFAR-10, 0 skipped: its file is not in SAM_ATTRIBUTION_DATA." in capsys.readouterr().out
    )


def test_seeds_are_those_of_the_set_and_names_choose():
    cases = networks_named((), {"mnist": 2}, SIZE)
    assert [case for case in cases if case[2] == 1] == [("mnist", "ResNet", 1), ("mnist", "ViT", 1)]
    assert len(cases) == 6
    assert networks_named(["CIFAR-10, ViT"], {}, SIZE) == [("CIFAR-10", "ViT", 0)]


def test_few_networks_are_all_of_mnist_and_the_resnet_of_the_others():
    assert [key(case) for case in few_networks((), {}, SIZE)] == [
        "mnist, ResNet, 0", "mnist, ViT, 0", "CIFAR-10, ResNet, 0",
    ]  # fmt: skip
    assert few_networks(["CIFAR-10, ViT"], {}, SIZE) == [("CIFAR-10", "ViT", 0)]
