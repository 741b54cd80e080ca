"""Tensor texts: literals printed by torch 2.13.0, and properties of any text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau.printing import (
    format_tensor,
    get_printoptions,
    printoptions,
    set_printoptions,
    shape_suffixes,
)


def lines(*parts: str) -> str:
    return "\n".join(parts)


def case(name: str, array: Any, text: str, **options: Any) -> Any:
    return pytest.param(np.asarray(array), options, text, id=name)


def suffixed(
    name: str,
    array: Any,
    suffixes: tuple[str, ...],
    text: str,
    prefix: str = "tensor(",
    **options: Any,
) -> Any:
    return pytest.param(array, prefix, suffixes, options, text, id=name)


# Without the size= and dtype= suffixes, which are the caller's (TestShapeSuffixes).
TORCH_TEXTS = [
    case("scalar", np.float32(6), "tensor(6.)"),
    case("scalar_fraction", np.float32(2.5), "tensor(2.5000)"),
    case("scalar_int", np.int64(-7), "tensor(-7)"),
    case("scalar_bool", np.bool_(True), "tensor(True)"),
    case("scalar_nan", np.float32("nan"), "tensor(nan)"),
    case("scalar_small", np.float32(1e-4), "tensor(1.0000e-04)"),
    case("scalar_small_f64", np.float64(1e-4), "tensor(0.0001)"),
    case("scalar_complex", np.complex64(1 + 2j), "tensor(1.+2.j)"),
    case("whole", [1.0, 2.0, 3.0], "tensor([1., 2., 3.])"),
    case("fixed", [1.5, 2.25], "tensor([1.5000, 2.2500])"),
    case("bools", [True, False], "tensor([ True, False])"),
    case("ints", [1, 2, 3], "tensor([1, 2, 3])"),
    case("int_column", [[1, -22], [333, 0]], "tensor([[  1, -22],\n        [333,   0]])"),
    case("int8", np.array([-128, 127, 0], np.int8), "tensor([-128,  127,    0])"),
    case(
        "uint64",
        np.array([2**64 - 1, 0], np.uint64),
        "tensor([18446744073709551615,                    0])",
    ),
    case("empty", [], "tensor([])"),
    case("empty_2d", np.zeros((0, 3)), "tensor([])"),
    case("empty_inner", np.zeros((2, 0)), "tensor([])"),
    case("negative_zero", [-0.0, 0.0], "tensor([-0., 0.])"),
    case(
        "negative_columns",
        [[-1.5, 2.0], [10.25, -0.125]],
        "tensor([[-1.5000,  2.0000],\n        [10.2500, -0.1250]])",
    ),
    case("sci_small", [1e-6, 1.0], "tensor([1.0000e-06, 1.0000e+00])"),
    case("sci_below", [9e-5, 0.5], "tensor([9.0000e-05, 5.0000e-01])"),
    case("ratio_1000", [1.5, 1500.0], "tensor([   1.5000, 1500.0000])"),
    case("ratio_above", [1.5, 1501.0], "tensor([1.5000e+00, 1.5010e+03])"),
    case("whole_ratio_1000", [1.0, 1000.0], "tensor([   1., 1000.])"),
    case("whole_ratio_above", [1.0, 1001.0], "tensor([1.0000e+00, 1.0010e+03])"),
    case("whole_1e8", [1e8], "tensor([100000000.])"),
    case("whole_above_1e8", [100000008.0], "tensor([1.0000e+08])"),
    case("fixed_large", [12345678.5, 99999.5], "tensor([12345678.5000,    99999.5000])"),
    case("non_finite", [np.nan, np.inf, -np.inf, 1.5], "tensor([   nan,    inf,   -inf, 1.5000])"),
    case("non_finite_whole", [np.nan, -np.inf, 12.0], "tensor([nan, -inf, 12.])"),
    case("only_non_finite", [np.nan, 0.0, -np.inf], "tensor([nan, 0., -inf])"),
    case("infinite_beside_sci", [np.inf, 1e-9], "tensor([       inf, 1.0000e-09])"),
    case(
        "f64_extremes",
        np.array([5e-324, -1.7976931348623157e308]),
        "tensor([ 4.9407e-324, -1.7977e+308])",
    ),
    case("f64_beyond_f32", np.array([1 / 3, -1e-3]), "tensor([ 0.3333, -0.0010])"),
    case("float16", np.array([0.1, 65504.0], np.float16), "tensor([9.9976e-02, 6.5504e+04])"),
    case("float16_ratio", np.array([0.1, 0.2], np.float16), "tensor([0.1000, 0.2000])"),
    case(
        "complex64",
        np.array([1.5 + 2j, -3 - 0.25j], np.complex64),
        "tensor([ 1.5000+2.0000j, -3.0000-0.2500j])",
    ),
    case(
        "complex128", np.array([1e-9 + 1j, 2 - 300j]), "tensor([1.0000e-09+1.j, 2.0000e+00-300.j])"
    ),
    case(
        "complex_non_finite",
        np.array([complex(np.nan, -0.0), complex(-np.inf, np.nan), 0]),
        "tensor([nan-0.j, -inf+nanj, 0.+0.j])",
    ),
    case(
        "complex_wrapped_30",
        np.array([1 + 1j, 2 - 2j, 3 + 3j]),
        "tensor([1.+1.j, 2.-2.j,\n        3.+3.j])",
        linewidth=30,
    ),
    case(
        "complex_wrapped_31",
        np.array([1 + 1j, 2 - 2j, 3 + 3j]),
        "tensor([1.+1.j, 2.-2.j, 3.+3.j])",
        linewidth=31,
    ),
    case(
        "complex_rows",
        (np.arange(6) * (1 - 0.5j)).reshape(2, 3),
        lines(
            "tensor([[0.+0.0000j, 1.-0.5000j, 2.-1.0000j],",
            "        [3.-1.5000j, 4.-2.0000j, 5.-2.5000j]])",
        ),
    ),
    case(
        "wrapped",
        np.arange(20) * 0.25,
        lines(
            "tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000, 1.2500, 1.5000, 1.7500, 2.0000,",
            "        2.2500, 2.5000, 2.7500, 3.0000, 3.2500, 3.5000, 3.7500, 4.0000, 4.2500,",
            "        4.5000, 4.7500])",
        ),
    ),
    case(
        "wrapped_rows",
        np.arange(32).reshape(2, 16) * 10001,
        lines(
            "tensor([[     0,  10001,  20002,  30003,  40004,  50005,  60006,  70007,  80008,",
            "          90009, 100010, 110011, 120012, 130013, 140014, 150015],",
            "        [160016, 170017, 180018, 190019, 200020, 210021, 220022, 230023, 240024,",
            "         250025, 260026, 270027, 280028, 290029, 300030, 310031]])",
        ),
    ),
    case(
        "cube",
        np.arange(12.0).reshape(2, 3, 2),
        lines(
            "tensor([[[ 0.,  1.],",
            "         [ 2.,  3.],",
            "         [ 4.,  5.]],",
            "",
            "        [[ 6.,  7.],",
            "         [ 8.,  9.],",
            "         [10., 11.]]])",
        ),
    ),
    case(
        "four_axes",
        np.arange(16).reshape(2, 2, 2, 2),
        lines(
            "tensor([[[[ 0,  1],",
            "          [ 2,  3]],",
            "",
            "         [[ 4,  5],",
            "          [ 6,  7]]],",
            "",
            "",
            "        [[[ 8,  9],",
            "          [10, 11]],",
            "",
            "         [[12, 13],",
            "          [14, 15]]]])",
        ),
    ),
    case("long", np.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    case(
        "long_floats",
        np.arange(2000) / 8,
        lines(
            "tensor([0.0000e+00, 1.2500e-01, 2.5000e-01,  ..., 2.4962e+02, 2.4975e+02,",
            "        2.4988e+02])",
        ),
    ),
    case(
        "long_matrix",
        np.arange(1200).reshape(40, 30),
        lines(
            "tensor([[   0,    1,    2,  ...,   27,   28,   29],",
            "        [  30,   31,   32,  ...,   57,   58,   59],",
            "        [  60,   61,   62,  ...,   87,   88,   89],",
            "        ...,",
            "        [1110, 1111, 1112,  ..., 1137, 1138, 1139],",
            "        [1140, 1141, 1142,  ..., 1167, 1168, 1169],",
            "        [1170, 1171, 1172,  ..., 1197, 1198, 1199]])",
        ),
    ),
    case(
        "cut_hides_extremes",
        np.where(np.arange(1001) == 500, 1e9, 0.5),
        "tensor([0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000])",
    ),
    case(
        "long_complex",
        np.arange(1001) * (1 + 0.5j),
        lines(
            "tensor([   0.+0.0000j,    1.+0.5000j,    2.+1.0000j,  ...,",
            "         998.+499.0000j,  999.+499.5000j, 1000.+500.0000j])",
        ),
    ),
    case("precision_2", [1 / 3, 22.5], "tensor([ 0.33, 22.50])", precision=2),
    case("precision_0", [1.5, 22.5], "tensor([ 2, 22])", precision=0),
    case(
        "precision_8_sci", [1e-5 / 3, 1.0], "tensor([3.33333333e-06, 1.00000000e+00])", precision=8
    ),
    case(
        "threshold_5",
        np.arange(12).reshape(2, 6),
        "tensor([[ 0,  1,  ...,  4,  5],\n        [ 6,  7,  ..., 10, 11]])",
        threshold=5,
        edgeitems=2,
    ),
    case(
        "edge_1",
        np.arange(24.0).reshape(2, 3, 4),
        lines(
            "tensor([[[ 0.,  ...,  3.],",
            "         ...,",
            "         [ 8.,  ..., 11.]],",
            "",
            "        [[12.,  ..., 15.],",
            "         ...,",
            "         [20.,  ..., 23.]]])",
        ),
        threshold=5,
        edgeitems=1,
    ),
    case("at_threshold", np.arange(6), "tensor([0, 1, 2, 3, 4, 5])", threshold=6, edgeitems=1),
    case("edge_0", np.arange(24.0).reshape(2, 3, 4), "tensor([...])", threshold=5, edgeitems=0),
    case(
        "edges_cover_axis",
        np.arange(8).reshape(4, 2),
        "tensor([[0, 1],\n        [2, 3],\n        [4, 5],\n        [6, 7]])",
        threshold=5,
        edgeitems=2,
    ),
    case(
        "linewidth_20",
        np.arange(9),
        "tensor([0, 1, 2, 3,\n        4, 5, 6, 7,\n        8])",
        linewidth=20,
    ),
    case("linewidth_1", [0.5, -1.0], "tensor([ 0.5000,\n        -1.0000])", linewidth=1),
    case(
        "short",
        np.arange(1500) / 16,
        "tensor([0.00e+00, 6.25e-02,  ..., 9.36e+01, 9.37e+01])",
        profile="short",
    ),
    case(
        "sci_on",
        [1.0, np.nan, -20.0],
        "tensor([ 1.0000e+00,         nan, -2.0000e+01])",
        sci_mode=True,
    ),
    case(
        "sci_off",
        [1.5, 1e9, 1e-7],
        "tensor([         1.5000, 1000000000.0000,          0.0000])",
        sci_mode=False,
    ),
    case("sci_off_whole", [1.0, 1e9], "tensor([         1., 1000000000.])", sci_mode=False),
    case("sci_on_zeros", [0.0, np.nan], "tensor([0., nan])", sci_mode=True),
    case(
        "sci_on_complex",
        np.array([1 + 2j, 3]),
        "tensor([1.0000e+00+2.0000e+00j, 3.0000e+00+0.0000e+00j])",
        sci_mode=True,
    ),
]


@pytest.mark.parametrize(("array", "options", "text"), TORCH_TEXTS)
def test_contents(array: Any, options: dict[str, Any], text: str) -> None:
    with printoptions(**{"profile": "default", **options}):
        assert format_tensor(array) == text


TORCH_SUFFIXED = [
    suffixed(
        "one_line",
        np.full(3, 0.5),
        ("requires_grad=True",),
        "tensor([0.5000, 0.5000, 0.5000], requires_grad=True)",
    ),
    suffixed(
        "fits",
        np.full(14, 0.5),
        ("grad_fn=<MulBackward0>",),
        lines(
            "tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000,",
            "        0.5000, 0.5000, 0.5000, 0.5000, 0.5000], grad_fn=<MulBackward0>)",
        ),
    ),
    suffixed(
        "one_column_too_long",
        np.full(15, 0.5),
        ("grad_fn=<MulBackward0>",),
        lines(
            "tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000,",
            "        0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000],",
            "       grad_fn=<MulBackward0>)",
        ),
    ),
    suffixed(
        "linewidth_54",
        np.full(3, 0.5),
        ("dtype=torch.float64", "requires_grad=True"),
        lines(
            "tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64,", "       requires_grad=True)"
        ),
        linewidth=54,
    ),
    suffixed(
        "linewidth_53",
        np.full(3, 0.5),
        ("dtype=torch.float64", "requires_grad=True"),
        lines(
            "tensor([0.5000, 0.5000, 0.5000],", "       dtype=torch.float64, requires_grad=True)"
        ),
        linewidth=53,
    ),
    suffixed(
        "linewidth_46",
        np.full(3, 0.5),
        ("dtype=torch.float64", "requires_grad=True"),
        lines(
            "tensor([0.5000, 0.5000, 0.5000],", "       dtype=torch.float64, requires_grad=True)"
        ),
        linewidth=46,
    ),
    suffixed(
        "linewidth_45",
        np.full(3, 0.5),
        ("dtype=torch.float64", "requires_grad=True"),
        lines(
            "tensor([0.5000, 0.5000, 0.5000],",
            "       dtype=torch.float64,",
            "       requires_grad=True)",
        ),
        linewidth=45,
    ),
    suffixed(
        "matrix",
        np.full((2, 2), 0.5),
        ("requires_grad=True",),
        lines("tensor([[0.5000, 0.5000],", "        [0.5000, 0.5000]], requires_grad=True)"),
    ),
    suffixed(
        "parameter",
        np.full((2, 2), 0.5),
        ("requires_grad=True",),
        lines(
            "Parameter containing:",
            "tensor([[0.5000, 0.5000],",
            "        [0.5000, 0.5000]], requires_grad=True)",
        ),
        prefix="Parameter containing:\ntensor(",
    ),
    suffixed(
        "subclass",
        np.arange(26).reshape(2, 13) + 100000,
        (),
        lines(
            "Special([[100000, 100001, 100002, 100003, 100004, 100005, 100006, 100007,",
            "          100008, 100009, 100010, 100011, 100012],",
            "         [100013, 100014, 100015, 100016, 100017, 100018, 100019, 100020,",
            "          100021, 100022, 100023, 100024, 100025]])",
        ),
        prefix="Special(",
    ),
    suffixed(
        "no_data",
        None,
        ("device='meta'", "size=(2, 3)", "dtype=torch.float64", "requires_grad=True"),
        lines(
            "tensor(..., device='meta', size=(2, 3), dtype=torch.float64,",
            "       requires_grad=True)",
        ),
    ),
    suffixed(
        "empty",
        np.zeros((0, 3)),
        ("size=(0, 3)", "dtype=torch.int64"),
        "tensor([], size=(0, 3), dtype=torch.int64)",
    ),
]


@pytest.mark.parametrize(("array", "prefix", "suffixes", "options", "text"), TORCH_SUFFIXED)
def test_suffixes(
    array: Any, prefix: str, suffixes: tuple[str, ...], options: dict[str, Any], text: str
) -> None:
    with printoptions(**{"profile": "default", **options}):
        assert format_tensor(array, prefix=prefix, suffixes=suffixes) == text


DTYPES = [
    *("float32", "float64", "float16", "bfloat16"),
    *("int64", "int32", "bool", "complex64", "complex128"),
]
# Default float -> the dtypes torch leaves out of a tensor with numbers; without, it alone.
TORCH_HIDDEN = [
    ("float32", {"bool", "float32", "complex64", "int64"}),
    ("float64", {"int64", "complex128", "bool", "float64"}),
    ("float16", {"bool", "complex64", "float16", "int64"}),
    ("bfloat16", {"bfloat16", "bool", "complex64", "int64"}),
]


class TestShapeSuffixes:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("default", "hidden"), TORCH_HIDDEN)
    def test_dtype(self, default: str, hidden: set[str], dtype: str) -> None:
        shown = [f"dtype=flambeau.{dtype}"]
        names: dict[str, Any] = {
            "dtype": f"flambeau.{dtype}",
            "default_dtype": f"flambeau.{default}",
        }
        assert shape_suffixes((2,), **names) == ([] if dtype in hidden else shown)
        assert shape_suffixes((0,), **names) == ([] if dtype == default else shown)
        no_data = shape_suffixes((2,), **names, has_data=False)
        assert no_data == ["size=(2,)", *([] if dtype == default else shown)]

    @pytest.mark.parametrize(
        ("shape", "has_data", "expected"),
        [
            ((), True, []),
            ((2, 3), True, []),
            ((0,), True, []),
            ((0, 3), True, ["size=(0, 3)"]),
            ((2, 0), True, ["size=(2, 0)"]),
            ((), False, ["size=()"]),
            ((0,), False, ["size=(0,)"]),
            ((2, 3), False, ["size=(2, 3)"]),
        ],
    )
    def test_size(self, shape: tuple[int, ...], has_data: bool, expected: list[str]) -> None:
        assert shape_suffixes(shape, "float32", has_data=has_data) == expected

    def test_size_is_shown_without_edgeitems(self) -> None:
        with printoptions(edgeitems=0):
            assert shape_suffixes((2,), "float32") == ["size=(2,)"]
            assert shape_suffixes((0,), "float32") == []


class TestOptions:
    def test_profiles(self) -> None:
        full = {"precision": 4, "threshold": np.inf, "edgeitems": 3, "linewidth": 80}
        with printoptions(profile="full"):
            assert get_printoptions() == {**full, "sci_mode": None}
        with printoptions(profile="short"):
            short = {**full, "precision": 2, "threshold": 1000, "edgeitems": 2}
            assert get_printoptions() == {**short, "sci_mode": None}

    def test_arguments_override_profile(self) -> None:
        with printoptions(profile="short", precision=7):
            assert get_printoptions()["precision"] == 7
            assert get_printoptions()["edgeitems"] == 2

    def test_each_call_sets_sci_mode(self) -> None:
        with printoptions(sci_mode=True):
            set_printoptions(precision=2)
            assert get_printoptions()["sci_mode"] is None
            assert get_printoptions()["precision"] == 2

    def test_round_trip(self) -> None:
        with printoptions(precision=2, linewidth=33, sci_mode=False):
            before = get_printoptions()
            with printoptions(profile="full"):
                set_printoptions(**before)
                assert get_printoptions() == before

    def test_context_restores_after_error(self) -> None:
        before = get_printoptions()
        with pytest.raises(KeyError), printoptions(precision=9):
            raise KeyError
        assert get_printoptions() == before

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"profile": "long"}, "profile must be one of 'default', 'short', 'full', got 'long'"),
            ({"precision": -1}, "precision must be an integer >= 0, got -1"),
            ({"precision": 2.5}, "precision must be an integer >= 0, got 2.5"),
            ({"edgeitems": -3, "precision": 2}, "edgeitems must be an integer >= 0, got -3"),
        ],
    )
    def test_bad_value_changes_nothing(self, options: dict[str, Any], message: str) -> None:
        before = get_printoptions()
        with pytest.raises(ValueError, match=message):
            set_printoptions(**options)
        assert get_printoptions() == before

    def test_infinite_linewidth(self) -> None:
        with printoptions(profile="full", linewidth=np.inf):
            digits = ", ".join(str(k % 10) for k in range(1001))
            assert format_tensor(np.arange(1001) % 10) == f"tensor([{digits}])"


def drawn(seed: int) -> tuple[np.random.Generator, tuple[int, ...]]:
    """A generator and a shape of 0 to 4 axes from it, at times with an empty axis."""
    rng = np.random.default_rng(seed)
    return rng, tuple(int(n) for n in rng.integers(0 if seed % 10 == 0 else 1, 6, rng.integers(5)))


def drawn_floats(seed: int) -> np.ndarray[Any, Any]:
    """Any finite bit patterns of float64, zeros among them."""
    rng, shape = drawn(seed)
    bits = rng.integers(0, 2**64, shape, np.uint64, endpoint=False)
    values = np.asarray(bits).view(np.float64)
    return np.where(np.isfinite(values) & (rng.random(shape) < 0.9), values, 0.0)


def parsed(text: str) -> Any:
    return eval(text.removeprefix("tensor(").removesuffix(")"))


many_seeds = pytest.mark.parametrize("seed", range(50))


@many_seeds
def test_integers_read_back(seed: int) -> None:
    rng, shape = drawn(seed)
    top = 10 ** int(rng.integers(1, 18))
    array = np.asarray(rng.integers(-top, top, shape))
    expected = array.tolist() if array.size else []
    assert parsed(format_tensor(array)) == expected


@many_seeds
def test_floats_read_back_at_17_digits(seed: int) -> None:
    array = drawn_floats(seed)
    expected = array.tolist() if array.size else []
    with printoptions(precision=16, sci_mode=True):
        assert parsed(format_tensor(array)) == expected


@many_seeds
def test_memory_layout_does_not_matter(seed: int) -> None:
    array = drawn_floats(seed)
    text = format_tensor(array)
    assert format_tensor(array.T.copy().T) == text
    assert format_tensor(np.stack([array, array], -1)[..., 1]) == text


@many_seeds
def test_float16_prints_as_its_float32_values(seed: int) -> None:
    rng, shape = drawn(seed)
    array = np.asarray(rng.normal(0, 10 ** rng.uniform(-3, 3), shape)).astype(np.float16)
    assert format_tensor(array) == format_tensor(array.astype(np.float32))


def test_bfloat16_prints_as_its_float32_values() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    array = np.array([0.1, 300.0]).astype(bfloat16)
    assert format_tensor(array) == "tensor([1.0010e-01, 3.0000e+02])"
    assert format_tensor(array.astype(np.float32)) == "tensor([1.0010e-01, 3.0000e+02])"


@many_seeds
def test_lines_stay_within_the_width(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(-(2**31), 2**31, rng.integers(1, 200))
    width = int(rng.integers(22, 200))
    with printoptions(linewidth=width):
        *full, last = format_tensor(array).split("\n")
    assert all(len(line) <= width for line in full)
    assert len(last) <= width + 1  # the closing brackets


@many_seeds
def test_hidden_numbers_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.normal(size=rng.integers(3, 30, 2))
    with printoptions(threshold=8, edgeitems=1):
        text = format_tensor(array)
        array[1:-1, 1:-1] = 10 ** rng.uniform(-300, 300)
        assert format_tensor(array) == text
