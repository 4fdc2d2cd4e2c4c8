import torch

from sam_attribution.linalg._memory import check_memory, free_memory


def test_free_memory_is_that_of_the_system():
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50
    assert free_memory(torch.device("meta")) is None
    check_memory(2.0**60, torch.device("meta"), "anything", "")  # unknown: nothing is said
    check_memory(1.0, torch.device("cpu"), "a byte", "")
