import torch

from dbtssl.nn.devices.distributed import gather, rank, shuffle, unshuffle, world_size


def test_alone_there_is_one_process() -> None:
    assert (world_size(), rank()) == (1, 0)
    x = torch.rand(4, 2)
    assert torch.equal(gather(x), x)


def test_unshuffle_restores_the_order() -> None:
    torch.manual_seed(0)
    x = torch.arange(20)
    shuffled, order = shuffle(x)
    assert not torch.equal(shuffled, x)
    assert sorted(shuffled.tolist()) == x.tolist()
    assert torch.equal(unshuffle(shuffled, order), x)
