import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_window():
    backend = mpl.get_backend()
    plt.switch_backend("agg")
    plt.close("all")  # what examples in docstrings have left
    yield
    plt.close("all")
    plt.switch_backend(backend)
