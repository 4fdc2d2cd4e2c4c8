"""Tables of the papers: by hand on small cases, and those of the page."""

from pathlib import Path

import pytest

from benchmarks.papers import tables

PAGE = Path(__file__).parents[2] / "docs" / "evidence" / "papers.rst"


def edit(accuracy, seconds, cosine, loss):
    return {
        "accuracy": accuracy,
        "seconds": seconds,
        "cosine": cosine,
        "length": 2.0,
        "removed_loss": loss,
        "removed_loss_before": 0.5,
    }


CASES = {
    "mnist, 50 styles, ViT, 0": {
        "accuracy": 0.8,
        "methods": {
            "retrain": {"1 %": edit(0.7, 10.0, 1.0, 3.0), "8 %": edit(0.6, 30.0, 1.0, 4.0)},
            "GIF": {
                "1 %": edit(0.75, 5.0, 0.1, 1.0), "8 %": edit(0.5, 5.0, 0.3, 1.5),
                "seconds_fit": 40.0, "damping": None,
            },
            "IF": {"refused": "no"},
        },
    }
}  # fmt: skip


def test_a_place_is_read_from_its_end():
    found = tables.place("mnist, 50 styles, Wide ResNet, 1")
    assert found == {"images": "mnist, 50 styles", "network": "Wide ResNet", "seed": 1}


def test_differences_are_from_training_again_and_costs_in_trainings():
    found = tables.differences(tables.lines_of_edits(CASES))
    assert list(found.index) == ["no edit", "retrain", "GIF"]
    of_gif = found.loc["GIF"]
    assert of_gif["mean difference"] == pytest.approx((0.05 - 0.1) / 2)
    assert of_gif["mean absolute"] == pytest.approx(0.075)
    assert of_gif["largest"] == pytest.approx(0.1)
    assert of_gif["cosine"] == pytest.approx(0.2)
    assert of_gif["cost of fit"] == pytest.approx(2)  # 40 s; one training takes 20
    assert of_gif["cost of an edit"] == pytest.approx(0.25)
    assert found.loc["no edit", "mean absolute"] == pytest.approx(0.15)
    assert found.loc["no edit", "cost of an edit"] == 0


def test_the_network_without_an_edit_has_the_loss_of_before():
    lines = tables.lines_of_edits(CASES)
    losses = tables.wide(lines, "method", "removed", "removed_loss")
    assert losses.loc["no edit"].tolist() == [0.5, 0.5]
    assert losses.loc["retrain"].tolist() == [3, 4]


def test_means_over_networks_are_of_methods_that_all_have():
    other = {
        "accuracy": 0.5,
        "methods": {"retrain": CASES["mnist, 50 styles, ViT, 0"]["methods"]["retrain"]},
    }
    lines = tables.lines_of_edits(CASES | {"mnist, ResNet, 0": other})
    assert set(tables.on_all(lines)["method"]) == {"no edit", "retrain"}


def test_a_number_that_is_not_there_is_a_dash():
    table = tables.found_wrong(
        {
            "mnist, ViT, 0": {"methods": {"a": {"found": {"40 %": 0.5}}, "b": {"refused": "no"}}},
            "mnist, ResNet, 0": {"methods": {"b": {"found": {"40 %": 0.001}}}},
        }
    )
    lines = tables.shown(table).splitlines()
    assert lines[3].split() == ["mnist", "ViT", "0.500", r"\-"]
    assert lines[4].split() == ["mnist", "ResNet", r"\-", "0.001"]


@pytest.mark.parametrize("name", tables.parts())
def test_the_page_has_the_table_of_the_json(name):
    assert tables.shown(tables.parts()[name]) in PAGE.read_text()
