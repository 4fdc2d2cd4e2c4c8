"""Sources of rows: what is read, in which precision, and what is refused."""

import io

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, IterableDataset

from sam_attribution import (
    MislabelDetector,
    MislabelFilter,
    SAMInfluence,
    SAMNet,
    ValidationData,
)
from sam_attribution._fingerprint import fingerprint
from sam_attribution._rows import ArrayRows, as_source
from sam_attribution.review import apply_decisions
from tests.rows.data import OneInput, Rows, TwoInputs, X, Y, net, weights_of


@pytest.fixture
def on_disk(tmp_path):
    """The rows as a memory map, in float64 and big-endian."""
    rows = np.memmap(tmp_path / "X.dat", dtype=">f8", mode="w+", shape=X.shape)
    rows[:] = X
    rows.flush()
    return np.memmap(tmp_path / "X.dat", dtype=">f8", mode="r", shape=X.shape)


def test_a_memory_map_is_not_copied(on_disk):
    influence = SAMInfluence(net(), random_state=0).fit(on_disk, Y)
    source = influence.attributions_[0].problem.X
    assert isinstance(source, ArrayRows)
    assert source.arrays is on_disk
    expected = SAMInfluence(net(), random_state=0).fit(X.astype(np.float64), Y)
    np.testing.assert_array_equal(influence.scores_, expected.scores_)
    assert influence.estimator_.n_features_in_ == influence.n_features_in_ == 5
    with pytest.raises(ValueError, match="expecting 5 features"):
        influence.transform(on_disk[:3, :4])
    held_out = ValidationData(on_disk, Y)
    assert held_out.X.arrays is on_disk
    assert held_out == ValidationData(on_disk, Y) != ValidationData(on_disk, 1 - Y)


def test_a_memory_map_is_hashed_without_its_place(on_disk, tmp_path):
    other = np.memmap(tmp_path / "Z.dat", dtype=">f8", mode="w+", shape=X.shape)
    other[:] = X
    one, two = as_source(on_disk), as_source(other)
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one.part([3, 1])) == fingerprint(two.part([3, 1]))
    other[1, 1] += 1
    assert fingerprint(one) != fingerprint(two)


def test_the_default_module_reads_a_memory_map(on_disk):
    assert torch.equal(weights_of(net(None).fit(on_disk, Y)), weights_of(net(None).fit(X, Y)))
    with pytest.raises(TypeError, match="X must hold numbers that torch knows, got complex64"):
        as_source(on_disk.astype(np.complex64))
    on_disk = np.array(on_disk)
    on_disk[3, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        as_source({"a": on_disk})


def test_a_source_reads_what_it_is_asked_for():
    rows = as_source({"a": X.astype(np.float64), "ids": Y}).to_dtype(torch.float32)
    batch = rows[torch.tensor([2, 0])]
    assert [batch["a"].dtype, batch["ids"].dtype] == [torch.float32, torch.int64]
    np.testing.assert_array_equal(batch["a"], X[[2, 0]])
    part = rows.part(Y == 1)
    assert len(part) == Y.sum()
    np.testing.assert_array_equal(part.part([1, 0])[:]["a"], X[Y == 1][[1, 0]])
    assert [len(some) for some in part.split(7)] == [7] * (Y.sum() // 7) + [Y.sum() % 7]
    with pytest.raises(TypeError):
        iter(rows)


def test_a_dataset_reads_several_items_at_once_if_it_can():
    asked = []

    class AtOnce(Rows):
        def __getitems__(self, positions):
            asked.append(positions)
            return [(self.X[i], self.y[i]) for i in positions]

    rows = as_source(AtOnce())
    asked.clear()
    np.testing.assert_array_equal(rows[[5, 3]], X[[5, 3]])
    rows[[5, 3]]
    assert asked == [[5, 3]]  # the last batch is kept


@pytest.mark.slow
def test_no_more_rows_than_those_of_a_pass_are_read_at_once():
    asked = []

    class AtOnce(Rows):
        def __getitems__(self, positions):
            asked.append(len(positions))
            return [(self.X[i], self.y[i]) for i in positions]

    dataset = AtOnce(np.tile(X, (10, 1)), np.tile(Y, 10))
    dataset.targets = dataset.y
    held_out = ValidationData(dataset)
    SAMInfluence(net(max_epochs=1), validation=held_out, batch_size=32, random_state=0).fit(dataset)
    assert max(asked) <= 64  # of which distinct ones are taken to try the module


def test_targets_are_read_item_by_item_only_where_nothing_else_knows_them():
    class Counting(Rows):
        n_reads = 0

        def __getitem__(self, i):
            Counting.n_reads += 1
            return super().__getitem__(i)

    labels = np.repeat(Y, 50)
    dataset = Counting(np.repeat(X, 50, 0), labels)
    np.testing.assert_array_equal(as_source(dataset).targets(), labels)
    assert Counting.n_reads >= 2000
    Counting.n_reads, dataset.targets = 0, labels.tolist()
    np.testing.assert_array_equal(as_source(dataset).targets(), labels)
    assert Counting.n_reads < 300


def test_an_attribute_that_differs_from_few_items_is_no_target():
    # the items have wrong labels, and the attribute has the right ones
    given, wrong = np.repeat(Y, 50), np.random.default_rng(0).random(50 * len(Y)) < 0.05
    dataset = Rows(np.repeat(X, 50, 0), np.where(wrong, 1 - given, given))
    dataset.labels = given
    np.testing.assert_array_equal(as_source(dataset).targets(), dataset.y)


class Columns(Rows):
    """In the manner of Hugging Face datasets: dicts, with columns that can be read as a whole."""

    column_names = ("a", "label")
    n_reads = 0

    def __getitem__(self, i):
        if isinstance(i, str):
            return self.y.tolist()
        Columns.n_reads += 1
        return {"a": self.X[i].tolist(), "label": int(self.y[i])}


def test_columns_of_a_dataset_are_labels_and_inputs_by_name():
    dataset = Columns(np.tile(X, (20, 1)), np.tile(Y, 20))
    np.testing.assert_array_equal(as_source(dataset).targets(), np.tile(Y, 20))
    assert Columns.n_reads < 300
    assert torch.equal(weights_of(net().fit(Columns())), weights_of(net().fit(X, Y)))


def test_a_batch_that_a_module_wrote_into_is_read_again():
    rows = as_source(Rows())
    rows[[1, 2]].zero_()
    np.testing.assert_array_equal(rows[[1, 2]], X[[1, 2]])


class InputsAlone(Rows):
    def __getitem__(self, i):
        return self.X[i]


class Streamed(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class OfSeveralLengths(Rows):
    def __getitem__(self, i):
        return torch.arange(3 + i % 2), self.y[i]


class OneArray(Rows):
    """Writes each row into the array that it returned before."""

    kept = np.zeros(5, dtype=np.float32)

    def __getitem__(self, i):
        self.kept[:] = self.X[i]
        return self.kept, self.y[i]


class RandomLabels(Rows):
    def __getitem__(self, i):
        return self.X[i], int(torch.randint(2, ()))


class SomeNames(Rows):
    def __getitem__(self, i):
        return {"a": self.X[i], "labels": self.y[i]} | ({"b": self.X[i]} if i == 7 else {})


class Complex(Rows):
    def __getitem__(self, i):
        return self.X[i] + 0j, self.y[i]


class Unknown(Rows):
    def __getitem__(self, i):
        return self.X[i] + (np.nan if i == 7 else 0), self.y[i]


class MixedLabels(Rows):
    def __getitem__(self, i):
        return self.X[i], "one" if i == 7 else int(self.y[i])


class WithText(Rows):
    def __getitem__(self, i):
        return {"x": self.X[i], "text": "some words", "labels": self.y[i]}


class WithNumber(Rows):
    def __getitem__(self, i):
        return self.X[i], int(self.y[i]), i % 2


class WithNumbers(Rows):
    def __getitem__(self, i):
        return self.X[i], int(self.y[i]), torch.tensor([i, 1])


class WithPlace(Rows):
    def __getitem__(self, i):
        return self.X[i], int(self.y[i]), {"place": i}


class Changing(Rows):
    """Loses an item when its length has been asked for some times."""

    def __init__(self, n_asked):
        super().__init__()
        self.left = n_asked

    def __len__(self):
        self.left -= 1
        return 40 if self.left >= 0 else 39


class Empty(Rows):
    def __len__(self):
        return 0


@pytest.mark.parametrize(
    ("dataset", "error"),
    [
        (InputsAlone(), "y is None, and the items of InputsAlone have no target"),
        (Streamed(), "X must be a map-style Dataset, got Streamed"),
        (Empty(), r"X as a Dataset \(Empty\) has no items"),
        (OfSeveralLengths(), "rows that cannot be put into one batch.*iterator_train__collate_fn"),
        (OneArray(), "gives other items.*returns one array for all items"),
        (
            RandomLabels(),
            "item [0-9]+ of X as a Dataset has the target [01], which was [01] before",
        ),
        (SomeNames(), r"items with \['b'\] and items without"),
        (Complex(), "X as a Dataset must give real numbers, got torch.complex64"),
        (Unknown(), "X holds NaN or infinity, the first in row [0-9]+ of those trained on: drop"),
        (MixedLabels(), "y must hold labels of one kind that can be sorted, got int, str"),
        (WithText(), "^X as a Dataset must give tensors, got list in 'text'. .*leave out"),
        (
            WithNumber(),
            r"module cannot take X, whose rows have 2 inputs: .* pairs \(x, y\), without",
        ),
        (WithNumbers(), r"y must hold one label per row.* Dataset the last part is y"),
        (WithPlace(), r"X as a Dataset gives dict as y, .* pairs \(x, y\), without metadata"),
        (DataLoader(Rows()), r"X must be rows that have positions, got a DataLoader.*\.dataset"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("door", ["net", "influence"])
def test_what_cannot_be_is_refused_by_name(door, dataset, error):
    fitted = net() if door == "net" else SAMInfluence(net(), random_state=0)
    with pytest.raises((ValueError, TypeError), match=error):
        fitted.fit(dataset)


@pytest.mark.parametrize("n_asked", [1, 2, 3, 4, 6, 9, 14])
def test_a_length_that_changes_is_an_error(n_asked):
    with pytest.raises(ValueError, match="has 39 items now and had 40 before: its length must not"):
        SAMInfluence(net(), method="grad-dot", random_state=0).fit(Changing(n_asked))


def test_an_item_that_cannot_be_read_is_named():
    class Broken(Rows):
        def __getitem__(self, i):
            return self.X[i], self.y[i] // (i != 7)

    with pytest.raises(ZeroDivisionError) as raised:
        net().fit(Broken(X, Y.tolist()))
    assert raised.value.__notes__ == ["Raised by item 7 of 40 of X (Broken)."]


def test_a_batch_has_the_type_that_holds_all_of_its_rows():
    class Narrow(Rows):
        def __getitem__(self, i):
            return (self.X[i] if i else self.X[i].astype(np.float16)), self.y[i]

    wide = X.astype(np.float64)
    np.testing.assert_array_equal(as_source(Narrow(wide))[[0, 1]][1], wide[1])


class Optional(TwoInputs):
    def forward(self, a, b=None):
        return super().forward(a, a.new_zeros(len(a), 3) if b is None else b)


def test_rows_have_the_inputs_of_training():
    """Without the check an argument with a default would take it, and give other numbers."""
    fitted = net(Optional).fit({"a": X[:, :2], "b": X[:, 2:]}, Y)
    with pytest.raises(ValueError, match=r"X has one input in each row.* \['a', 'b'\]"):
        fitted.predict({"a": X[:, :2]})
    held_out = torch.utils.data.StackDataset(a=torch.tensor(X[:, :2]), labels=torch.tensor(Y))
    influence = SAMInfluence(net(Optional), validation=ValidationData(held_out), random_state=0)
    with pytest.raises(ValueError, match="one input in each row"):
        influence.fit({"a": X[:, :2], "b": X[:, 2:]}, Y)


def test_a_dataset_to_validate_on_is_to_be_wrapped():
    with pytest.raises(ValueError, match=r"got Rows. Wrap .*: ValidationData\(dataset\)"):
        SAMInfluence(net(), validation=Rows()).fit(Rows())


def test_inputs_alone_take_the_labels_of_y():
    expected = net().fit(X, Y)
    assert torch.equal(weights_of(net().fit(InputsAlone(), Y)), weights_of(expected))
    # of pairs the own target is ignored
    assert torch.equal(weights_of(net().fit(Rows(X, 1 - Y), Y)), weights_of(expected))
    with pytest.raises(ValueError, match="X has 40 rows, y has 39"):
        net().fit(InputsAlone(), Y[1:])


def mixed_up(items):
    rows, labels = torch.utils.data.default_collate(items)
    return rows, labels.flip(0)


def test_a_collate_function_that_changes_targets_is_refused():
    with pytest.raises(ValueError, match="collate_fn changes the targets of the items"):
        net(iterator_train__collate_fn=mixed_up).fit(Rows())
    influence = SAMInfluence(net(iterator_train__collate_fn=mixed_up), random_state=0)
    with pytest.raises(ValueError, match="scores read an array X without it"):
        influence.fit(X, Y)


def test_the_review_page_reads_the_rows_that_it_shows(tmp_path):
    asked = []

    class Images(Rows):
        def __getitem__(self, i):
            asked.append(i)
            return super().__getitem__(i)

    dataset = Images(np.random.default_rng(0).random((40, 3, 6, 6)).astype(np.float32))
    detector = MislabelDetector(net(None), random_state=0).fit(dataset)
    asked.clear()
    page = detector.report(tmp_path / "one.html", dataset, n_rows=5)
    assert len(set(asked)) <= 7
    other = detector.report(tmp_path / "two.html", dataset.X, n_rows=5)
    sheets = [p.read_text().split('"content"')[1].split('"page"')[0] for p in (page, other)]
    assert sheets[0] == sheets[1]
    csv = "row,given,suggested,decision,label\n" + f"3,{Y[3]},{1 - Y[3]},remove,\n"
    kept, labels = apply_decisions(dataset, Y, io.StringIO(csv))
    assert (len(kept), len(labels)) == (39, 39)
    np.testing.assert_array_equal(kept[3][0], dataset.X[4])


def test_rows_in_parts_do_not_go_through_a_pipeline():
    influence = SAMInfluence(make_pipeline(StandardScaler(), net(TwoInputs)), random_state=0)
    with pytest.raises(ValueError, match="X as a dict cannot go through the steps of a Pipeline"):
        influence.fit({"a": X[:, :2], "b": X[:, 2:]}, Y)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ((X, X[1:]), "X as a tuple must hold arrays of one length"),
        ({"a": np.array(["x"] * 40)}, "X as a dict must hold numbers"),
        ({"a": np.full((40, 5), np.inf)}, "Input X contains NaN or infinity"),
        ({"a": X, "b": 1.0}, r"an entry for each row, got a single float under \['b'\]"),
        ({"a": X.astype(np.longdouble)}, "X as a dict must hold numbers"),
        ({"a": torch.tensor(X, device="meta")}, "got one without values"),
        ({"a": torch.tensor(X).to_sparse()}, "a dense tensor, got a sparse one"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(rows, error):
    with pytest.raises((ValueError, TypeError), match=error):
        SAMInfluence(net(), random_state=0).fit(rows, Y)


RAGGED = [list(range(2 + i % 3)) for i in range(len(Y))]
AS_ARRAYS = np.empty(len(Y), dtype=object)
AS_ARRAYS[:] = [np.array(row) for row in RAGGED]


DOORS = {
    "net": SAMNet(OneInput, max_epochs=1, random_state=0).fit,
    "influence": SAMInfluence(SAMNet(OneInput, max_epochs=1), random_state=0).fit,
    "validation": ValidationData,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("rows", "y", "what"),
    [
        ({"a": RAGGED}, Y, "X as a dict, 'a',"),
        ({"a": AS_ARRAYS}, Y, "X as a dict, 'a',"),
        ((AS_ARRAYS, X), Y, "X as a tuple, 0,"),
        (RAGGED, Y, "X"),
        ([torch.tensor(row) for row in RAGGED], Y, "X"),
        (X, RAGGED, "y"),
    ],
)
def test_rows_without_padding_are_named(door, rows, y, what):
    with pytest.raises(ValueError, match=f"{what} has rows of different lengths, 2 to 4. Pad them"):
        DOORS[door](rows, y)


def test_targets_of_a_dataset_have_one_length():
    dataset = Rows(X, [torch.ones(2 + i % 3) for i in range(len(X))])
    with pytest.raises(ValueError, match=r"y of a Dataset has rows of different.*-100"):
        SAMNet(max_epochs=1).fit(dataset)


@pytest.mark.parametrize("dtype", ["complex64", "S3"])
def test_a_memory_map_holds_real_numbers(dtype, tmp_path):
    on_disk = np.memmap(tmp_path / "X.dat", dtype, "w+", shape=X.shape)
    with pytest.raises(TypeError, match="X must hold numbers that torch knows, got"):
        net().fit(on_disk, Y)


def test_a_validation_set_of_other_parts_is_refused():
    held_out = ValidationData({"a": X, "b": X}, Y)
    with pytest.raises(ValueError, match="other features"):
        SAMInfluence(net(), validation=held_out, random_state=0).fit({"a": X}, Y)


@pytest.mark.slow
def test_splitters_and_samplers_see_rows_by_position():
    dataset = Rows()
    folds = SAMInfluence(net(), validation=KFold(2), random_state=0).fit(dataset).scores_
    np.testing.assert_array_equal(
        folds, SAMInfluence(net(), validation=KFold(2), random_state=0).fit(X, Y).scores_
    )
    scorer = SAMInfluence(net())
    rows_left = MislabelFilter(scorer, removal_fraction=0.1, random_state=0)
    kept, labels = rows_left.fit_resample({"a": X}, Y)
    expected = rows_left.fit_resample(X, Y)
    np.testing.assert_array_equal(kept["a"], expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    subset, _ = rows_left.fit_resample(dataset, None)
    np.testing.assert_array_equal(np.stack([row for row, _ in subset]), expected[0])


def test_validation_data_of_parts_is_frozen_and_comparable():
    parts = {"a": X.copy(), "b": torch.tensor(X)}
    held_out = ValidationData(parts, Y)
    parts["a"][:] = 0
    parts["b"][:] = 0
    np.testing.assert_array_equal(held_out.X[[1]]["a"], X[[1]])
    np.testing.assert_array_equal(held_out.X[[1]]["b"], X[[1]])
    assert held_out == ValidationData({"a": X, "b": torch.tensor(X)}, Y)
    assert held_out != ValidationData(parts, Y)
    assert ValidationData(Rows()) == ValidationData(Rows())
    assert ValidationData(Rows()) != ValidationData(Rows(X + 1))
    assert repr(held_out) == "ValidationData(X of a (40, 5), b (40, 5), y of shape (40,))"
