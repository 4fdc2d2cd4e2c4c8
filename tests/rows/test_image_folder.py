"""torchvision's ImageFolder with random transforms: what training read is what scores read."""

import numpy as np
import pytest
import torch
from PIL import Image
from skorch.callbacks import Callback
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision import transforms
from torchvision.datasets import ImageFolder

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution._rows import as_source
from sam_attribution.comparison import leave_one_out
from sam_attribution.methods import GIF
from sam_attribution.retraining import LeaveOneOut
from tests.rows.data import gradient_at, net, weights_of

pytestmark = pytest.mark.filterwarnings("ignore:The trained model predicts")
N_ROWS, BATCH_SIZE, N_EPOCHS, LR, RHO = 18, 6, 3, 0.5, 0.2
LABELS = torch.tensor([0, 1]).repeat_interleave(N_ROWS // 2)  # cats come first
STEPS = N_ROWS // BATCH_SIZE  # of an epoch
TURNED = transforms.RandomRotation(20), transforms.RandomHorizontalFlip()
CUT = transforms.RandomResizedCrop(8, scale=(0.7, 1)), transforms.ColorJitter(0.4)
AUGMENTED = transforms.Compose([*TURNED, *CUT, transforms.ToTensor()])
PLAIN = transforms.Compose([transforms.CenterCrop(8), transforms.ToTensor()])


def write(folder, n_rows, seed):
    """Pictures of noise in two folders, brighter in one of them."""
    generator = np.random.default_rng(seed)
    for number in range(n_rows):
        kind = folder / ("cats" if number % 2 else "dogs")
        kind.mkdir(exist_ok=True, parents=True)
        pixels = generator.integers(0, 128, (10, 9, 3)) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pictures"), N_ROWS, 0)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("held_out"), 8, 1)
    return ValidationData(ImageFolder(folder, PLAIN))


def module(norm=None):
    """A convolution with a norm layer, in float64."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), norm or nn.GroupNorm(2, 4), nn.GELU(), nn.AvgPool2d(6)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)).double()


class Notes(Callback):
    """The inputs of every training step, as training had them."""

    def on_train_begin(self, net, **kwargs):
        self.inputs = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.inputs.append(batch[0].double().clone())


def classifier(**settings):
    given = {"rho": RHO, "lr": LR, "batch_size": BATCH_SIZE, "max_epochs": N_EPOCHS}
    return net(module(), dtype="float64", **given | settings)


@pytest.fixture(scope="module")
def scored(folder, held_out):
    """GIF at the middle of each epoch, and the inputs that the steps had, by epoch and row."""
    clf = classifier(trajectory=N_EPOCHS, callbacks=[("notes", Notes())])
    influence = SAMInfluence(clf, method=GIF(n_checkpoints="recorded"), validation=held_out)
    influence.fit(ImageFolder(folder, AUGMENTED))
    trained = influence.estimator_
    read = torch.empty(N_EPOCHS, N_ROWS, 3, 8, 8, dtype=torch.float64)
    noted = dict(trained.callbacks_)["notes"].inputs
    for number, (step, inputs) in enumerate(zip(trained.trajectory_.schedule, noted, strict=True)):
        read[number // STEPS, step.indices] = inputs
    return influence, read


@pytest.mark.slow
def test_what_is_read_again_is_what_training_read(folder, scored):
    influence, read = scored
    rows = as_source(ImageFolder(folder, AUGMENTED)).seeded(influence.estimator_.trajectory_.seed)
    for epoch in (2, 0, 1):
        then = rows.at_epoch(epoch)
        assert torch.equal(then[[7, 0, 12]].double(), read[epoch, [7, 0, 12]])
        assert torch.equal(then[[0, 7]].double(), read[epoch, [0, 7]])
    per_row = (read[0] != read[1]).flatten(1).any(1)
    assert per_row.all()


def perturbed(params, inputs, labels):
    """SAM's point ``w + rho g / ||g||``, g the gradient of a batch."""
    gradient = gradient_at(module(), params, inputs, labels)
    return params + RHO * gradient / gradient.norm()


@pytest.mark.slow
def test_gif_is_the_sum_over_states_with_the_pictures_of_their_epochs(scored, held_out):
    influence, read = scored
    trained = influence.estimator_
    run, expected = trained.trajectory_, np.zeros(N_ROWS)
    states = {state.step: state.params for state in run.states}
    final = gradient_at(
        module(), weights_of(trained), held_out.X[:].double(), torch.tensor(held_out.y)
    )
    for stretch in run.stretches:
        epoch, batch = stretch.middle // STEPS, run.schedule[stretch.middle]
        pictures, rows = read[epoch], batch.indices
        point = perturbed(states[stretch.middle], pictures[rows], LABELS[rows])
        for i in range(N_ROWS):
            own = gradient_at(module(), point, pictures[[i]], LABELS[[i]])
            expected[i] += LR * (stretch.last - stretch.first) * float(final @ own) / N_ROWS
    np.testing.assert_allclose(influence.scores_, expected, rtol=1e-6)


def loss_without(removed, scored, held_out):
    """Validation loss after the recorded steps by hand; a removed row keeps its place."""
    influence, read = scored
    run = influence.estimator_.trajectory_
    network, params = module(), run.states[0].params.clone()
    for number, step in enumerate(run.schedule):
        kept = step.indices[step.indices != removed]
        share = len(kept) / len(step.indices)
        pictures = read[number // STEPS, kept]
        point = perturbed(params, pictures, LABELS[kept])  # a direction: the share does not matter
        params = params - LR * share * gradient_at(network, point, pictures, LABELS[kept])
    nn.utils.vector_to_parameters(params, network.parameters())
    with torch.no_grad():
        logits = network(held_out.X[:].double())
    return float(cross_entropy(logits, torch.tensor(held_out.y)))


@pytest.mark.slow
def test_leaving_a_picture_out_repeats_the_transforms_of_the_others(scored, folder, held_out):
    dataset = ImageFolder(folder, AUGMENTED)
    clf = classifier(trajectory=N_EPOCHS)
    found = leave_one_out(clf, dataset, None, held_out, method=LeaveOneOut(rows=[3, 14]))
    with_all = loss_without(None, scored, held_out)
    expected = [loss_without(row, scored, held_out) - with_all for row in (3, 14)]
    np.testing.assert_allclose(found.scores[[3, 14]], expected, rtol=1e-6)


@pytest.mark.slow
def test_scores_do_not_depend_on_who_reads(folder, held_out):
    """With batch norm; training again, by another process and in a replay, gives the same bits."""
    dataset = ImageFolder(folder, AUGMENTED)
    scores, weights = [], []
    for n_workers in (0, 1):
        clf = net(module(nn.BatchNorm2d(4)), iterator_train__num_workers=n_workers, batch_size=6)
        influence = SAMInfluence(clf, validation=held_out, random_state=0).fit(dataset)
        scores.append(influence.scores_)
        weights.append(weights_of(influence.estimator_))
    np.testing.assert_array_equal(*scores)
    assert torch.equal(*weights)
    *_, last = influence.estimator_.replay(dataset, dataset.targets)
    assert torch.equal(last.params, weights[0])
    other = SAMInfluence(clf, validation=held_out, random_state=0).fit(ImageFolder(folder, PLAIN))
    assert abs(other.scores_ - scores[0]).max() > 0.1 * abs(scores[0]).max()


def grad_dot(X, y, held_out, **settings):
    adopted = SAMClassifier.from_module(module(), X, y, random_state=0, **settings)
    return SAMInfluence(adopted, method="grad-dot", validation=held_out).fit(X, y).scores_


@pytest.mark.slow
def test_a_network_from_elsewhere_reads_the_pictures_of_a_folder(folder, held_out):
    plain, augmented = ImageFolder(folder, PLAIN), ImageFolder(folder, AUGMENTED)
    pixels = torch.stack([picture for picture, _ in plain]).numpy()
    expected = grad_dot(pixels, plain.targets, held_out)
    np.testing.assert_array_equal(grad_dot(plain, None, held_out), expected)
    of_augmented = grad_dot(augmented, None, held_out)
    np.testing.assert_array_equal(grad_dot(augmented, None, held_out), of_augmented)
    assert abs(of_augmented - expected).max() > 0.01 * abs(expected).max()
