import pytest
import torch

from dbtssl.errors import ConfigError
from dbtssl.nn.queue import NOBODY, Queue


def push(queue: Queue, first: int, count: int) -> None:
    ids = torch.arange(first, first + count)
    keys = ids[:, None].float().expand(-1, queue.keys.shape[1])
    queue.enqueue(keys, ids, ids + 1000, ids + 2000)


def test_starts_with_random_unit_vectors_of_nobody() -> None:
    queue = Queue(50, 8)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(50))
    for ids in (queue.volume, queue.breast, queue.patient):
        assert (ids == NOBODY).all()


@pytest.mark.parametrize("size", [1, 7, 16])
@pytest.mark.parametrize("batch", [1, 3, 5, 7, 20])
def test_holds_the_newest_keys_for_any_batch(size: int, batch: int) -> None:
    queue = Queue(size, 2)
    pushed = 0
    for _ in range(6):
        push(queue, pushed, batch)
        pushed += batch
        newest = set(range(max(0, pushed - size), pushed))
        assert set(queue.volume.tolist()) - {NOBODY} == newest
        assert int(queue.pointer) == pushed % size
    for k, volume, breast, patient in zip(
        queue.keys[:, 0], queue.volume, queue.breast, queue.patient, strict=True
    ):
        if volume != NOBODY:
            assert (int(k), int(breast), int(patient)) == (volume, volume + 1000, volume + 2000)


def test_overwrites_the_oldest_first() -> None:
    queue = Queue(5, 2)
    push(queue, 0, 3)
    push(queue, 3, 3)
    assert queue.volume.tolist() == [5, 1, 2, 3, 4]


def test_state_dict_carries_all_of_it() -> None:
    queue, other = Queue(5, 2), Queue(5, 2)
    push(queue, 0, 7)
    other.load_state_dict(queue.state_dict())
    push(queue, 7, 4)
    push(other, 7, 4)
    for name, value in queue.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize(("size", "dim"), [(0, 2), (2, 0)])
def test_an_empty_queue_is_refused(size: int, dim: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 or more"):
        Queue(size, dim)
