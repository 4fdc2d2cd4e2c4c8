"""Row gradients in few numbers, kept in files: an approximation, for whoever asks for it."""

import hashlib
import os
import tempfile
from dataclasses import replace
from numbers import Integral
from shutil import disk_usage

import numpy as np
import torch
from sklearn.base import BaseEstimator

from sam_attribution._fingerprint import fingerprint
from sam_attribution._folders import user_path
from sam_attribution._rows import part_of
from sam_attribution._seeding import integer_seed
from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg import CountSketch
from sam_attribution.probes import RowProducts, gradients_for, within
from sam_attribution.training.storage import naming_the_folder

_DIGEST_BYTES = 32


class Projected(BaseEstimator):
    """A way for ``SAMInfluence.attribute`` to read training rows: gradients projected once.

    Every gradient g is replaced by ``S g`` with a random ``proj_dim`` times n_params matrix that
    has one entry, 1 or -1, in each column. ``<S a, S b>`` is ``<a, b>`` on average over S, with
    a standard deviation of at most ``sqrt((|a|^2 |b|^2 + <a, b>^2) / proj_dim)``: a score that is
    small because the gradients are orthogonal, and not because they are short, is lost in that.

    Parameters
    ----------
    proj_dim : int, default=2048
    folder : str or Path, default=None
        Where projected rows are kept, one file for each point that the method visits, so that
        later queries cost no gradient of a training row. Files are named by their content: those
        of another model, other rows or another projection are not taken, and one that was cut
        short or changed is an error. ``None`` keeps them in a temporary folder during one call.
    random_state : int, RandomState instance or None, default=None
        Draws S; None takes the seed of SAMInfluence, so that another ``fit`` with the same
        ``random_state`` finds the files in `folder` again.

    Notes
    -----
    Disk: ``n_rows * proj_dim`` numbers per visited point. Memory: that of the gradients of some
    rows. Against ``how="row-gradients"``, which is exact, it saves ``n_params - proj_dim`` of
    n_params multiplications per row and query, and with a `folder` the rows' gradients from the
    second call on.

    References
    ----------
    Charikar, Chen & Farach-Colton, Finding Frequent Items in Data Streams, 2002 (the count
    sketch); Park et al., arXiv:2303.14186, project gradients by Gaussian matrices, with the same
    error at `proj_dim` times the cost.

    Examples
    --------
    >>> from sam_attribution.methods import Projected
    >>> Projected(512)
    Projected(proj_dim=512)
    """

    def __init__(self, proj_dim=2048, *, folder=None, random_state=None):
        self.proj_dim = proj_dim
        self.folder = folder
        self.random_state = random_state

    _parameter_constraints = {
        "proj_dim": [Interval(Integral, 1, None, closed="left")],
        "folder": [str, os.PathLike, None],
        "random_state": ["random_state"],
    }

    def prepare(self, problem):
        """Return what turns a probe into one that is read off projected rows.

        Raises
        ------
        ValueError
            For a parameter outside its range.
        """
        check_parameters(self)
        return _Store(problem, self)


class _Store:
    """Projected rows in a folder, a file for each probe's point."""

    def __init__(self, problem, settings):
        self._problem = problem
        seed = integer_seed(settings.random_state)
        generator = torch.Generator().manual_seed(seed)
        self._sketch = CountSketch(problem.params, settings.proj_dim, generator)
        self._temporary = tempfile.TemporaryDirectory() if settings.folder is None else None
        self._folder = user_path(
            self._temporary.name if self._temporary else settings.folder, "folder"
        )
        with naming_the_folder("folder", self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        about = problem.module, problem.X, problem.y, problem.row_loss
        self._about = fingerprint("with digest", *about, settings.proj_dim, seed)

    def __call__(self, probe):
        selected = self._problem.selected
        parameters = selected if within(probe.directions, selected) else None
        epoch = () if probe.epoch is None else (probe.epoch,)
        where = probe.point, probe.buffers, probe.rows, parameters
        name = fingerprint(self._about, *where, *epoch)
        path = self._folder / f"{name}.npy"
        if not path.exists():
            with naming_the_folder("folder", self._folder):
                self._write(path, probe)
        directions = self._sketch.project(probe.directions.T).T
        stored = _stored_rows(path, self._shape(probe))
        return _ProjectedProbe(replace(probe, directions=directions), stored)

    def _shape(self, probe):
        n_rows = len(self._problem.y) if probe.rows is None else len(probe.rows)
        return n_rows, self._sketch.proj_dim

    def _write(self, path, probe):
        """Write row gradients, some at a time; the file has its name when all are there."""
        problem, rows = self._problem.at_epoch(probe.epoch), probe.rows
        X, y = (part if rows is None else part_of(part, rows) for part in (problem.X, problem.y))
        dtype = probe.point.new_empty(0).cpu().numpy().dtype
        self._check_room(len(y) * dtype.itemsize)
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        try:
            stored = _empty_rows(unfinished, dtype, self._shape(probe))
            for at, gradients in gradients_for(problem, probe, X, y):
                stored[at.cpu().numpy()] = self._sketch.project(gradients).cpu().numpy()
            stored.flush()
            del stored  # Windows renames closed files only
            _append_digest(unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _check_room(self, bytes_per_number):
        """Raise a ValueError if the projected rows of a point do not fit onto the disk."""
        needed, free = self._sketch.proj_dim * bytes_per_number, disk_usage(self._folder).free
        if needed > free:
            raise ValueError(
                f"projected rows take {needed / 2**30:.3g} GiB for each point that the method "
                f"visits, and {free / 2**30:.3g} GiB are free in {self._folder}. Use a lower "
                "proj_dim, or another folder."
            )


def _empty_rows(path, dtype, shape):
    """A new file of rows as an array; raise an OSError if the disk has no room for it."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # without room, writing to the map would kill the process
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return rows


def _append_digest(path):
    """Append to a file the hash of its content, which ``numpy.load`` does not read."""
    with path.open("r+b") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
        stream.seek(0, os.SEEK_END)
        stream.write(digest)


def _stored_rows(path, shape):
    """Rows of a file, mapped; raise a ValueError if it was cut short or changed in any bit."""
    if _is_whole(path):
        rows = np.load(path, mmap_mode="r")
        if rows.shape == shape:
            return rows
    raise ValueError(
        f"{path} is incomplete or was changed, so its projected rows cannot be used. Delete the "
        "file: it is computed again."
    )


def _is_whole(path):
    """True if a file ends with the hash of what is before it."""
    size = path.stat().st_size - _DIGEST_BYTES
    if size <= 0:
        return False
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while size:
            part = stream.read(min(size, 2**20))
            content.update(part)
            size -= len(part)
        return stream.read() == content.digest()


class _ProjectedProbe(RowProducts):
    """A probe with projected directions, for rows whose projected gradients are known."""

    def __init__(self, probe, stored):
        super().__init__(probe)
        self._stored = stored

    def of_members(self, part):
        return _ProjectedProbe(self.probe, self._stored[part.cpu().numpy()])

    def given_label(self, problem, X, y):
        return self.probe.of_gradients(torch.from_numpy(self._stored).to(self.probe.point))
