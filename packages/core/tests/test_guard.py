"""The nan guard names what made a nan, where, and out of what."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import nan_guard
from flambeau.backend import exchange
from flambeau.backend.registry import opened
from flambeau.errors import AnomalyError

NAN, INF = float("nan"), float("inf")


def kernels():
    return [dict(dev.kernels) for dev in opened()]


def test_the_operation_that_makes_nan():
    with (
        nan_guard(),
        pytest.raises(
            AnomalyError,
            match=r"log: made nan, 2 of 6 elements, the first at \[0, 1\], from -2.0 "
            r"\(arguments: float32 \(2, 3\)\)\.\nHint: look at the arguments there",
        ),
    ):
        fb.tensor([[1.0, -2.0, 3.0], [4.0, -1.0, INF]]).log()


def test_overflow_in_half_precision():
    with nan_guard(inf=True), pytest.raises(AnomalyError, match="cast: made inf, .* from 100000.0"):
        fb.tensor([1e5]).half()


def test_two_operands():
    with nan_guard(), pytest.raises(AnomalyError, match="div: made nan, .* from 0.0 and 0.0"):
        fb.tensor([1.0, 0.0]) / fb.tensor([2.0, 0.0])


def test_nan_from_outside():
    x = fb.tensor([1.0, NAN])
    with (
        nan_guard(),
        pytest.raises(
            RuntimeError,
            match=r"add: argument 0 holds nan that no operation in this guard made \(arguments: "
            r"float32 \(2,\)\)\. Hint: look for it in the data",
        ),
    ):
        x + 1


def test_nan_that_is_asked_for_or_masked_is_fine():
    with nan_guard():
        x = fb.full((3,), NAN)
        assert x.isnan().all()
        assert x.nan_to_num(2.0).tolist() == [2.0, 2.0, 2.0]
        assert fb.where(fb.tensor([True, True, True]), fb.ones(3), x).sum() == 3
        assert fb.empty(1000).shape == (1000,)
        assert fb.arange(3).sum() == 3


def test_infinity_only_if_asked_for():
    with nan_guard():
        assert fb.ones(1).div(0).item() == INF
    with nan_guard(inf=True):
        with pytest.raises(AnomalyError, match="exp: made inf, 1 of 2 elements, .* from 100.0"):
            fb.tensor([1.0, 100.0]).exp()
        # that is how a mask is written: the infinity is an argument
        assert fb.ones(2).masked_fill(fb.tensor([True, False]), -INF)[0] == -INF


def test_in_place_leaves_the_tensor_as_it_was():
    x = fb.tensor([4.0, -1.0])
    with nan_guard():
        for _ in range(2):
            with pytest.raises(AnomalyError, match="sqrt: made nan, 1 of 2 .* from -1.0"):
                x.sqrt_()
    assert x.tolist() == [4.0, -1.0]


def test_several_results():
    with nan_guard(), pytest.raises(AnomalyError, match="holds nan that no operation"):
        fb.tensor([1.0, NAN]).max(0)


def test_backward_names_the_function_and_the_line():
    x = fb.zeros(2, requires_grad=True)
    with nan_guard():
        y = (x.sqrt() * x).sum()  # infinity times zero on the way back
        with pytest.raises(AnomalyError, match="'SqrtBackward0' returned nan") as error:
            y.backward()
    assert "infinity times zero" in str(error.value)
    assert x.grad is None


def test_a_rule_may_mask_its_own_nan():
    x = fb.zeros(3, requires_grad=True)
    with nan_guard():
        x.norm().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_everything_is_as_it_was_afterwards():
    fb.ones(2) + 1
    before = kernels()
    guard = nan_guard()
    with pytest.raises(ZeroDivisionError), guard, guard:
        raise ZeroDivisionError
    with guard:
        with guard:
            assert kernels() != before
        assert fb.autograd.is_anomaly_enabled()
    assert not fb.autograd.is_anomaly_enabled()
    assert kernels() == before
    assert fb.tensor([-1.0]).sqrt().isnan().all()


def test_as_a_decorator():
    @nan_guard()
    def root(x):
        return x.sqrt()

    assert root(fb.tensor(4.0)) == 2
    with pytest.raises(AnomalyError):
        root(fb.tensor(-4.0))
    assert fb.tensor(-4.0).sqrt().isnan()


def test_complex_and_half():
    with nan_guard():
        with pytest.raises(AnomalyError, match="div: made nan"):
            fb.zeros(2, dtype=fb.complex64) / 0
        with pytest.raises(AnomalyError, match="log: made nan"):
            fb.tensor([-1.0], dtype=fb.float16).log()


def test_meta_tensors_have_nothing_to_check():
    with nan_guard():
        assert (fb.ones(2, device="meta") / 0).shape == (2,)


@pytest.mark.parametrize("first", [0, 1])
def test_layers_leave_in_any_order(first):
    fb.ones(2) + 1
    before, seen = kernels(), []

    def counting(mark):
        def layer(kernel, name, device, dev):
            def counted(*args, **kwargs):
                seen.append((mark, name))
                return kernel(*args, **kwargs)

            return counted

        return layer

    layers = [counting("a"), counting("b")]
    x = fb.ones(2)
    for layer in layers:
        exchange.add(layer)
    x + x
    assert seen == [("b", "add"), ("a", "add")]
    exchange.remove(layers[first])
    seen.clear()
    x + x
    assert seen == [("ba"[first], "add")]
    exchange.remove(layers[1 - first])
    exchange.remove(layers[0])  # a second time does nothing
    assert kernels() == before


def test_within_a_profile():
    x = fb.tensor([-1.0])
    with fb.profiler.profile() as prof, pytest.raises(AnomalyError), nan_guard():
        x.sqrt()
    x.sqrt()
    assert {row.key: row.count for row in prof.key_averages()}["sqrt"] >= 1
    assert np.isnan(x.sqrt().item())
