"""Memory that forked processes share."""

import multiprocessing
import pickle
import sys

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd.node import AccumulateGrad
from flambeau.ops.sharing import share


def count_up(x, times):
    for _ in range(times):
        x += 1


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be forked here")
class TestSharing:
    def forked(self, target, *args):
        process = multiprocessing.get_context("fork").Process(target=target, args=args)
        process.start()
        process.join(60)
        assert process.exitcode == 0

    def test_a_forked_process_writes_into_shared_memory(self):
        alone, shared = fb.zeros(3), fb.zeros(3).share_memory_()
        assert shared.is_shared() and not alone.is_shared()
        for x in (alone, shared):
            self.forked(count_up, x, 5)
        assert alone.tolist() == [0, 0, 0] and shared.tolist() == [5, 5, 5]

    def test_views_move_along(self):
        x = fb.arange(12.0).reshape(3, 4)
        views = [x[1:], x.t(), x.view(-1), x.detach(), x[:, 1], fb.expand_copy(x[0], (2, 4))]
        wide = x[:1].expand(5, 4)
        offset = views[0].data_ptr() - x.data_ptr()
        assert views[1].share_memory_() is views[1]
        assert all(v.is_shared() for v in (x, wide, *views[:5])) and not views[5].is_shared()
        assert views[0].data_ptr() - x.data_ptr() == offset and views[1].stride() == (1, 4)
        x[1, 1] = 70.0
        assert views[0][0, 1] == views[1][1, 1] == views[2][5] == views[4][1] == 70.0
        assert wide.tolist() == [[0, 1, 2, 3]] * 5

    def test_parameters_stay_leaves_and_learn(self):
        w = fb.ones(3, requires_grad=True)
        loss = (w * w).sum()
        w.share_memory_()
        loss.backward()
        assert isinstance(w._g, AccumulateGrad) and w.grad.tolist() == [2, 2, 2]
        with fb.no_grad():
            w -= 0.5 * w.grad
        assert w.is_shared() and w.tolist() == [0, 0, 0]

    def test_twice_is_once(self):
        x = fb.ones(3).share_memory_()
        address = x.data_ptr()
        assert x.share_memory_().data_ptr() == address

    def test_several_at_once(self):
        a, b = fb.ones(2), fb.ones(3, dtype=fb.int64)
        part = a[1:]
        share([a, part, b, fb.empty(0), fb.empty(2, device="meta")])
        assert a.is_shared() and b.is_shared() and part.is_shared() and part == 1

    def test_what_pickling_gives_is_a_copy(self):
        x = fb.ones(2).share_memory_()
        assert not pickle.loads(pickle.dumps(x)).is_shared()

    def test_memory_in_another_order(self):
        x = fb.from_numpy(np.asfortranarray(np.arange(6.0).reshape(2, 3))).share_memory_()
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and x.stride() == (1, 2) and x.is_shared()

    def test_hogwild(self):
        w = fb.zeros(2, requires_grad=True).share_memory_()
        target = fb.tensor([1.0, -2.0])

        def train():
            for _ in range(200):
                loss = (w - target).square().sum()
                (g,) = fb.autograd.grad(loss, w)
                with fb.no_grad():
                    w.sub_(g, alpha=0.05)

        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=train) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        np.testing.assert_allclose(w.detach().numpy(), [1, -2], atol=1e-3)
