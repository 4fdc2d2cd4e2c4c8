"""Content hashes that tell whether data are the ones a model was trained on."""

from dataclasses import dataclass, fields

from skorch.utils import is_dataset

from sam_attribution._fingerprint import fingerprint
from sam_attribution.training._inputs import n_rows


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of the training data, part by part, so that an error can name the culprit."""

    n_samples: int
    X: str | None
    y: str | None
    sample_weight: str | None

    @classmethod
    def of(cls, X, y, sample_weight=None):
        """Fingerprint of validated data; a Dataset may compute its rows: its length only."""
        return cls(n_rows(X), *(_content_hash(part) for part in (X, y, sample_weight)))

    def differences(self, other):
        """Names of the parts that are not the same in `other`."""
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def _content_hash(data):
    return None if data is None or is_dataset(data) else fingerprint(data)
