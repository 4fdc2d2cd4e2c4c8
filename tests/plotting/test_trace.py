"""What TraceDisplay draws is what the table and the rows say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from sam_attribution.influence import SAMInfluence
from sam_attribution.plotting import TraceDisplay
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import tabular, targets

rng = np.random.default_rng(0)
TRAIN, QUERY = rng.random((10, 4, 3)), rng.random((9, 4, 3))
TABLE = pd.DataFrame(
    {
        "query": [7, 7, 7, 7, 0, 0],
        "true_label": [2, 2, 2, 2, 0, 0],
        "predicted_label": [1, 1, 1, 1, 0, 0],
        "rank": [1, 2, -2, -1, 1, -1],
        "train_row": [3, 5, 2, 8, 4, 9],
        "label": [1, 1, 2, 2, 1, 0],
        "most_helpful_label": [2, 1, 2, 2, 0, 0],
        "score": [-0.5, -0.25, 0.125, 0.75, -2.0, 3.0],
        "epochs": ["1-2", "3", "1, 3-4, 6-7, 9-10", "", "2", "3"],
    }
)
ORDER = [("query", 7), ("harmed", 3), ("harmed", 5), ("helped", 8), ("helped", 2)]
ORDER += [("query", 0), ("harmed", 4), ("helped", 9)]


def row_of(role, position, train=TRAIN, query=QUERY):
    return (query if role == "query" else train)[position]


def written(display):
    return [text.get_text() for text in display.ax_.texts]


def test_images_are_those_of_the_rows_in_order():
    display = TraceDisplay.from_predictions(TABLE, QUERY, TRAIN)
    assert len(display.images_) == len(ORDER)
    for image, (role, position) in zip(display.images_, ORDER, strict=True):
        np.testing.assert_array_equal(image.get_array(), row_of(role, position))
    assert display.lines_["role"].tolist() == [role for role, _ in ORDER]
    lefts = np.array([image.get_extent()[0] for image in display.images_])
    tops = np.array([image.get_extent()[3] for image in display.images_])
    assert len(set(tops[:5])) == len(set(tops[5:])) == 1
    assert tops[5] < tops[0]
    assert (np.diff(lefts[:5]) > 1).all()
    assert lefts[[0, 1, 3]].tolist() == lefts[5:].tolist()  # columns mean the same in every line


def test_under_an_image_stand_labels_score_with_unit_and_epochs():
    display = TraceDisplay.from_predictions(TABLE, QUERY, TRAIN, unit="logits")
    texts = display.lines_["text"].tolist()
    assert texts[0] == "query 7\ntrue 2\npredicted 1"
    assert texts[1] == "row 3\nlabel 1 → 2\n\N{MINUS SIGN}0.5 logits\nepochs 1-2"
    assert texts[2] == "row 5\nlabel 1\n\N{MINUS SIGN}0.25 logits\nepoch 3"
    assert texts[3] == "row 8\nlabel 2\n+0.75 logits"
    assert texts[4] == "row 2\nlabel 2\n+0.12 logits\nepochs 1, 3-4, 6-7 …"
    bold = [text.get_text() for text in display.ax_.texts if text.get_fontweight() == "bold"]
    heads = ["query", "training rows that harmed it most", "training rows that helped it most"]
    assert sorted(bold) == sorted(["predicted 1", "label 1 → 2", "label 1 → 0", *heads])
    for line in "\n".join(texts).split("\n"):
        assert line in written(display)
    assert any("negative: the row harms" in text for text in written(display))


def captions(display):
    return " ".join(" ".join(written(display)).split())


def test_scores_with_an_order_only_have_no_unit_and_say_so_once():
    display = TraceDisplay.from_predictions(TABLE, QUERY, TRAIN, order_only=True)
    assert display.lines_["text"][1] == "row 3\nlabel 1 → 2\n\N{MINUS SIGN}0.5\nepochs 1-2"
    assert captions(display).count("order only: its size has no meaning") == 1
    assert "order only" not in captions(TraceDisplay.from_predictions(TABLE, QUERY, TRAIN))


def test_the_caption_explains_only_what_is_shown():
    full = captions(TraceDisplay.from_predictions(TABLE, QUERY, TRAIN))
    assert "suggested label of a harmful row" in full
    assert "epochs that contribute most" in full
    table = TABLE.drop(columns="most_helpful_label").assign(epochs="")
    bare = captions(TraceDisplay.from_predictions(table, QUERY, TRAIN))
    assert "negative: the row harms" in bare
    assert "suggested" not in bare
    assert "epochs" not in bare
    assert "epochs" not in cells(TraceDisplay.from_predictions(table, FLAT[1], FLAT[0]))[0]


def test_queries_go_by_their_names():
    names = [f"img{i}" for i in range(9)]
    display = TraceDisplay.from_predictions(TABLE, QUERY, TRAIN, query_ids=names)
    assert display.lines_["text"][0] == "query img7\ntrue 2\npredicted 1"
    assert display.lines_["query"][0] == 7
    table = pd.DataFrame(FLAT[1], index=names)
    assert cells(TraceDisplay.from_predictions(TABLE, table, FLAT[0]))[1][1] == "img7"
    with pytest.raises(ValueError, match="query_ids"):
        TraceDisplay.from_predictions(TABLE, QUERY, TRAIN, query_ids=names[:3])


def test_helpful_rows_have_no_suggestion():
    table = TABLE.assign(most_helpful_label=0)
    display = TraceDisplay.from_predictions(table, QUERY, TRAIN)
    lines = display.lines_
    helped = lines[lines["role"] == "helped"]
    assert helped["label"].tolist() == ["2", "2", "0"]
    assert not helped["stands_out"].any()
    harmed = lines[lines["role"] == "harmed"]
    assert harmed["label"].tolist() == ["1 → 0"] * 3
    bold = [text.get_text() for text in display.ax_.texts if text.get_fontweight() == "bold"]
    assert bold.count("label 1 → 0") == sum("→" in text for text in bold) == 3


def test_names_of_classes_no_unit_and_no_suggestions():
    table = TABLE.drop(columns=["most_helpful_label", "true_label", "predicted_label"])
    for names in (["a", "b", "c"], {0: "a", 1: "b", 2: "c"}):
        lines = TraceDisplay.from_predictions(
            table, QUERY, TRAIN, class_names=names, unit=None
        ).lines_
        assert lines["text"][:2].tolist() == [
            "query 7",
            "row 3\nlabel b\n\N{MINUS SIGN}0.5\nepochs 1-2",
        ]


FLAT = TRAIN.reshape(10, -1), QUERY.reshape(9, -1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 3), lambda row: row),
        ((4, 3, 1), lambda row: row),
        ((1, 4, 3), lambda row: row),
        ((2, 2, 3), lambda row: row.reshape(2, 2, 3)),
        ((3, 2, 2), lambda row: np.moveaxis(row.reshape(3, 2, 2), 0, -1)),
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_shapes_of_images(shape, expected, flat):
    train, query = FLAT if flat else (each.reshape(-1, *shape) for each in FLAT)
    settings = {"image_shape": shape} if flat else {}
    display = TraceDisplay.from_predictions(TABLE, query, train, **settings)
    for image, (role, position) in zip(display.images_, ORDER, strict=True):
        np.testing.assert_array_equal(image.get_array(), expected(row_of(role, position)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (lambda x: (255 * x).astype(np.uint8), lambda x: (255 * x).astype(np.uint8)),
        (lambda x: 255 * x, lambda x: x),
        (lambda x: 4 * x - 2, lambda x: (x - x.min()) / np.ptp(x)),
    ],
)
def test_colours_are_brought_into_range(values, expected):
    train, query = (each.reshape(-1, 2, 2, 3) for each in FLAT)
    display = TraceDisplay.from_predictions(TABLE, values(query), values(train))
    for image, (role, position) in zip(display.images_, ORDER, strict=True):
        wanted = expected(row_of(role, position, train, query))
        np.testing.assert_allclose(image.get_array(), wanted, atol=1e-12)


def cells(display):
    """Texts of the table, line by line."""
    found = display.table_.get_celld()
    n_lines, n_columns = np.max(list(found), axis=0) + 1
    return [[found[i, j].get_text().get_text() for j in range(n_columns)] for i in range(n_lines)]


def test_rows_of_features_are_a_table():
    display = TraceDisplay.from_predictions(TABLE, FLAT[1][:, :2], FLAT[0][:, :2])
    head, *lines = cells(display)
    assert head == ["", "row", "label", "score (nats)", "epochs", "x0", "x1"]
    assert display.images_ == []
    for line, (role, position) in zip(lines, ORDER, strict=True):
        assert line[:2] == [role, str(position)]
        row = row_of(role, position, *FLAT)
        assert line[5:] == [f"{value:.3g}" for value in row[:2]]
    assert lines[0][2] == "true 2, predicted 1"
    assert lines[1][2:5] == ["1 → 2", "\N{MINUS SIGN}0.5", "1-2"]
    assert lines[4][4] == "1, 3-4, 6-7, 9-10"


def test_names_of_features_and_more_of_them_than_there_is_room():
    names = [f"feature {i}" for i in range(12)]
    train, query = (pd.DataFrame(each, columns=names) for each in FLAT)
    by_name = cells(TraceDisplay.from_predictions(TABLE, query, train))
    assert by_name[0][5:] == [*names[:6], "and 6 more"]
    given = cells(TraceDisplay.from_predictions(TABLE, FLAT[1], FLAT[0], feature_names=names))
    sparse = TraceDisplay.from_predictions(
        TABLE, csr_array(FLAT[1]), csr_array(FLAT[0]), feature_names=names
    )
    assert given == by_name == cells(sparse)
    mixed = train.assign(**{"feature 0": list("abcdefghij")})
    shown = cells(TraceDisplay.from_predictions(TABLE, query, mixed))
    assert [shown[2][5], shown[4][5]] == ["d", "i"]


@pytest.mark.parametrize("container", [list, pd.Series, lambda x: pd.DataFrame({"text": x})])
def test_texts_are_wrapped_and_never_read_as_formulas(container):
    texts = [f"text {i}" for i in range(10)]
    texts[3] = "a  $price$\nto pay " + 100 * "word "
    shown = cells(TraceDisplay.from_predictions(TABLE, container(texts), container(texts)))
    assert shown[0][5] == "text"
    assert [line[5] for line in shown[1:]][:1] == ["text 7"]
    lines = shown[2][5].split("\n")
    assert lines[0].startswith("a $price$ to pay word")
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 56


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4,), (4, 4)], ids=["table", "images"])
def test_labels_are_never_read_as_formulas(shape):
    named = TABLE.assign(label="$a_$", most_helpful_label="$^$")
    display = TraceDisplay.from_predictions(named, np.zeros((10, *shape)), np.zeros((10, *shape)))
    display.figure_.canvas.draw()  # matplotlib reads formulas here


def test_colours_that_are_all_alike_are_drawn(recwarn):
    flat = np.full((10, 3, 4, 4), -2.0)
    display = TraceDisplay.from_predictions(TABLE, flat, flat)
    assert np.isfinite(display.images_[0].get_array()).all()
    assert not recwarn


X, y, _ = tabular(45)
X_query, y_query, _ = tabular(4, seed=1)
HELD_OUT = ValidationData(X_query, y_query)


def influence(**settings):
    clf = SAMClassifier(max_epochs=2, dtype="float64", random_state=0)
    return SAMInfluence(clf, validation=HELD_OUT, **settings).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({}, "score (nats)"),
        ({"evaluation": "margin"}, "score (logits)"),
        ({"evaluation": lambda logits, y: -logits[:, 0]}, "score"),
        ({"method": "grad-dot"}, "score (order only)"),
        ({"method": "grad-cos"}, "score (order only)"),
        ({"method": "ekfac"}, "score (order only)"),
    ],
)
def test_from_estimator_explains_and_knows_the_unit(settings, unit):
    fitted = influence(**settings)
    display = TraceDisplay.from_estimator(fitted, X_query, y_query, X, k=2)
    table = fitted.explain(X_query, y_query, k=2)
    lines = display.lines_
    extremes = lines.loc[lines["role"] != "query", "train_row"].to_numpy().reshape(4, 4)
    expected = table["train_row"].to_numpy().reshape(4, 4)[:, [0, 1, 3, 2]]
    np.testing.assert_array_equal(extremes, expected)
    asked = zip(y_query, fitted.estimator_.predict(X_query), strict=True)
    labels = [f"true {true}, predicted {predicted}" for true, predicted in asked]
    assert lines.loc[lines["role"] == "query", "label"].tolist() == labels
    assert cells(display)[0][3] == unit
    assert ("order only" in captions(display)) == ("order" in unit)
    named = TraceDisplay.from_estimator(
        fitted, X_query, y_query, X, unit="points", order_only=False
    )
    assert cells(named)[0][3] == "score (points)"


def test_from_estimator_of_a_regressor():
    rows, values, _ = targets(45)
    regressor = SAMRegressor(max_epochs=2, random_state=0)
    held_out = ValidationData(-rows[:9], values[:9])
    fitted = SAMInfluence(regressor, validation=held_out).fit(rows, values)
    display = TraceDisplay.from_estimator(fitted, rows[:1], values[:1], rows, k=1)
    true, predicted = values[0], fitted.estimator_.predict(rows[:1])[0]
    assert display.lines_["label"][0] == f"true {true:.3g}, predicted {predicted:.3g}"
    assert cells(display)[0][3] == "score (squared units of y)"


def draw(table=TABLE, query=QUERY, train=TRAIN, **settings):
    return TraceDisplay.from_predictions(table, query, train, **settings)


MANY = pd.concat([TABLE.assign(query=i) for i in range(21)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw(TABLE.drop(columns="rank")), "explain returns, got one without rank"),
        (lambda: draw(TABLE[:0]), "explanation must have lines, got none"),
        (lambda: draw(MANY), "explanation has 21 queries, more than the 20 .* n_errors=5"),
        (lambda: draw(query=QUERY[:5]), "X_query has 5 rows, but query in explanation points to 7"),
        (lambda: draw(train=TRAIN[:5]), "X_train has 5 rows, but train_row in .* points to 5"),
        (
            lambda: draw(query=FLAT[1], train=FLAT[0], image_shape=(5, 3)),
            r"image_shape must fit the 12 values of a row of X_query, got \(5, 3\)",
        ),
        (
            lambda: draw(query=QUERY.reshape(9, 2, 3, 2), train=TRAIN.reshape(10, 2, 3, 2)),
            r"X_query must hold images .* got rows of shape \(2, 3, 2\)",
        ),
        (lambda: draw(class_names=["a", "b"]), "class_names has no name for the label 2"),
        (
            lambda: draw(query=FLAT[1], train=FLAT[0], feature_names=["a"]),
            "feature_names must hold 12 names, got 1",
        ),
        (
            lambda: TraceDisplay.from_estimator(influence(), X[:21], y[:21], X),
            "X_query has 21 queries, more than the 20",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="SAMInfluence instance is not fitted yet"):
        TraceDisplay.from_estimator(SAMInfluence(), X_query, y_query, X)
    with pytest.raises(NotFittedError, match=r"influence must be fitted .* without explain"):
        TraceDisplay.from_estimator(SimpleNamespace(), X_query, y_query, X)
