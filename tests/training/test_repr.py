import html
import re

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from torch import nn

from sam_attribution import MislabelDetector, MislabelFilter
from sam_attribution.perturbation import PNorm
from sam_attribution.training import SAMClassifier, SAMRegressor

X = np.random.default_rng(0).normal(size=(20, 4))
y = np.arange(20) % 2

WRITTEN = [
    (SAMClassifier(), "SAMClassifier()"),
    (SAMClassifier(rho=0.1), "SAMClassifier(rho=0.1)"),
    (SAMRegressor(max_epochs=1, lr=0.01), "SAMRegressor(lr=0.01, max_epochs=1)"),
    (SAMClassifier(module__n_hidden=3), "SAMClassifier(module__n_hidden=3)"),
    (SAMClassifier(perturbation=PNorm(p=3)), "SAMClassifier(perturbation=PNorm(p=3))"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("net", "text"), WRITTEN)
def test_only_parameters_that_are_not_defaults_before_and_after_fit(net, text):
    assert repr(net) == text
    assert repr(clone(net).fit(X, y)) == text


def test_a_pipeline_indents_the_net():
    net = SAMClassifier(max_epochs=100, module__n_hidden=16, optimizer__momentum=0.9, rho=0.1)
    assert repr(make_pipeline(StandardScaler(), net)) == (
        "Pipeline(steps=[('standardscaler', StandardScaler()),\n"
        "                ('samclassifier',\n"
        "                 SAMClassifier(max_epochs=100, module__n_hidden=16,\n"
        "                               optimizer__momentum=0.9, rho=0.1))])"
    )


def test_a_module_instance_is_written_as_torch_writes_it():
    module = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2))
    assert repr(SAMClassifier(module, rho=0.1)) == (
        f"SAMClassifier(module={module!r},\n              rho=0.1)"
    )


def test_a_long_module_leaves_the_other_parameters_to_be_read():
    module = nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)], nn.Linear(4, 2))
    text = repr(SAMClassifier(module, max_epochs=7, rho=0.1))
    assert len(text) < 1200
    assert text.startswith("SAMClassifier(max_epochs=7,\n              module=Sequential(\n")
    assert "..." in text
    assert text.endswith("rho=0.1)")


LAYERS = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2))  # 23 parameters


def test_print_writes_a_network_of_several_layers_by_its_size():
    net = SAMClassifier(LAYERS, max_epochs=5, optimizer__momentum=0.9, random_state=0)
    assert str(net) == (
        "SAMClassifier(max_epochs=5, module=Sequential(23 parameters),\n"
        "              optimizer__momentum=0.9, random_state=0)"
    )
    assert str(MislabelFilter(MislabelDetector(net, random_state=3))) == (
        "MislabelFilter(scorer=MislabelDetector(estimator=SAMClassifier(max_epochs=5,\n"
        f"{'':63}module=Sequential(23 parameters),\n"
        f"{'':63}optimizer__momentum=0.9,\n"
        f"{'':63}random_state=0),\n"
        f"{'':39}random_state=3))"
    )
    assert str(SAMClassifier(LAYERS[0])) == f"SAMClassifier(module={LAYERS[0]!r})"
    assert net._repr_mimebundle_()["text/plain"] == str(net)
    assert "<div" in net._repr_mimebundle_()["text/html"]


SKLEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def shown(estimator):
    """Text of the HTML page that a notebook shows."""
    page = re.sub(r"<(style|script).*?</\1>", "", estimator_html_repr(estimator), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize("module", [None, nn.Linear(4, 2)])
@pytest.mark.parametrize("steps", [(), (StandardScaler(),)])
def test_a_notebook_shows_the_parameters_and_not_those_of_skorchs_callbacks(steps, module):
    net = SAMClassifier(module, rho=0.1, max_epochs=1)
    estimator = make_pipeline(*steps, net) if steps else net
    for text in (shown(estimator), shown(estimator.fit(X, y))):
        assert "rho=0.1" in text
        # a table of all parameters, from scikit-learn 1.7 on
        assert ("perturbation" in text) == (SKLEARN >= (1, 7))
        assert "callbacks__" not in text
        assert "<class 'sam_attribution" not in text
