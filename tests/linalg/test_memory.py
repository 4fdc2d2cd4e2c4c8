import torch

from sam_attribution.linalg._memory import check_memory, free_memory


def test_free_memory_is_that_of_the_system():
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50
    assert free_memory(torch.device("meta")) is None
    check_memory(2.0**60, torch.device("meta"), "anything", "")  # unknown: nothing is said
    check_memory(1.0, torch.device("cpu"), "a byte", "")


def test_memory_that_torch_holds_unused_is_free(monkeypatch):
    sizes = {"mem_get_info": (100, 1000), "memory_reserved": 600, "memory_allocated": 250}
    for name, size in sizes.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, size=size: size)
    assert free_memory(torch.device("cuda")) == 100 + 600 - 250
