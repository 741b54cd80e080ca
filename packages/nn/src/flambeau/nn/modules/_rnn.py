"""Recurrent layers and cells."""

from __future__ import annotations

import math
import warnings
from typing import Any

import flambeau as fb
from flambeau.errors import ArgumentError, FlambeauError, ShapeError
from flambeau.nn import init
from flambeau.nn.functional import _rnn as F
from flambeau.nn.functional._dropout import dropout
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.ops.creation import empty
from flambeau.tensor import Tensor, describe


class RnnArgumentError(FlambeauError, ValueError):
    """An argument that a recurrent layer cannot have."""


class RNNBase(Module):
    """Base of RNN, LSTM and GRU: layers, directions, weights. All weights start uniform within
    1/sqrt(hidden_size).
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check(mode, hidden_size, num_layers, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        gates = F.GATES[mode] * hidden_size
        state = proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for k in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                inputs = input_size if k == 0 else state * (2 if bidirectional else 1)
                shapes = {
                    f"weight_ih_l{k}{suffix}": (gates, inputs),
                    f"weight_hh_l{k}{suffix}": (gates, state),
                }
                if bias:
                    shapes |= {f"bias_ih_l{k}{suffix}": (gates,), f"bias_hh_l{k}{suffix}": (gates,)}  # type: ignore[dict-item]
                if proj_size:
                    shapes[f"weight_hr_l{k}{suffix}"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(shapes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, by layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing to do: no device here wants the weights in one block."""

    def extra_repr(self) -> str:
        """Sizes and whatever is not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    def _brief(self) -> str:
        return f"{type(self).__name__}({self.input_size}->{self.hidden_size})"

    def _weights(self, index: int) -> list[Any]:
        found = [getattr(self, name) for name in self._all_weights[index]]
        projection = [found.pop()] if self.proj_size else []
        return [*found, *([] if self.bias else [None, None]), *projection]

    # ---- forward
    def forward(self, input: Any, hx: Any = None) -> Any:
        """Output of the last layer at every step, and the last state of every layer and direction.

        Args: input: (T, B, input_size); (B, T, input_size) if batch_first; (T, input_size); or a
        PackedSequence.
            hx: the first state (layers * directions, B, hidden_size), for LSTM a pair; zeros if None.
        Raises: ShapeError: sizes do not fit.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        x: Any = input
        rank = len(x._a.shape)
        name = type(self).__name__
        if rank not in (2, 3):
            raise ShapeError(
                f"{name}: Expected input to be 2D or 3D, got {rank}D instead ({describe(x)})"
            )
        single = rank == 2
        if single:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        if x._a.shape[2] != self.input_size:
            raise ShapeError(
                f"{name}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{x._a.shape[2]} "
                f"({describe(input)}). Hint: {name}({x._a.shape[2]}, {self.hidden_size})"
            )
        state = self._first_state(hx, x, x._a.shape[1], single)
        y, last = self._layers(x, state, None)
        if single:
            y, last = y.squeeze(1), tuple(s.squeeze(1) for s in last)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, (last if self.mode == "LSTM" else last[0])

    def _forward_packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, order, back = input
        if data._a.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{data._a.shape[-1]} ({describe(data)})"
            )
        sizes = batch_sizes.tolist()
        state = self._first_state(hx, data, sizes[0], False)
        if hx is not None and order is not None:
            state = tuple(s.index_select(1, order) for s in state)
        y, last = self._layers(data, state, sizes)
        if back is not None:
            last = tuple(s.index_select(1, back) for s in last)
        return PackedSequence(y, batch_sizes, order, back), (
            last if self.mode == "LSTM" else last[0]
        )

    def _first_state(self, hx: Any, x: Any, batch: int, single: bool) -> tuple[Any, ...]:
        n = self.num_layers * (2 if self.bidirectional else 1)
        shapes = [(n, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((n, batch, self.hidden_size))
        if hx is None:
            return tuple(fb.zeros(s, dtype=x.dtype, device=x.device) for s in shapes)
        given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        if len(given) != len(shapes):
            raise ArgumentError(
                f"{type(self).__name__}: hx must be {'a pair (h_0, c_0)' if len(shapes) == 2 else 'a tensor'}, "
                f"got {len(given)}"
            )
        found = []
        for i, (t, shape) in enumerate(zip(given, shapes)):
            wanted = (shape[0], shape[2]) if single else shape
            if t._a.shape != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: Expected hidden[{i}] size {wanted}, got {list(t._a.shape)} "
                    f"({describe(t)})"
                )
            found.append(t.unsqueeze(1) if single else t)
        return tuple(found)

    def _layers(
        self, x: Any, state: tuple[Any, ...], sizes: list[int] | None
    ) -> tuple[Any, tuple[Any, ...]]:
        directions = 2 if self.bidirectional else 1
        ends: list[tuple[Any, ...]] = []
        for k in range(self.num_layers):
            outputs = []
            for d in range(directions):
                index = k * directions + d
                first = tuple(s[index] for s in state)
                weights = self._weights(index)
                if sizes is None:
                    y, *end = F.layer(self.mode, x, first, weights, d == 1)
                else:
                    y, *end = F.packed(self.mode, x, sizes, first, weights, d == 1)
                outputs.append(y)
                ends.append(tuple(end))
            x = outputs[0] if directions == 1 else fb.cat(outputs, -1)
            if self.dropout and k < self.num_layers - 1:
                x = dropout(x, self.dropout, self.training)
        return x, tuple(fb.stack([e[i] for e in ends]) for i in range(len(state)))


def _check(mode: str, hidden_size: Any, num_layers: int, dropout: Any, proj_size: int) -> None:
    if not isinstance(hidden_size, int):
        raise ArgumentError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
    if hidden_size <= 0:
        raise RnnArgumentError("hidden_size must be greater than zero")
    if num_layers <= 0:
        raise RnnArgumentError("num_layers must be greater than zero")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise RnnArgumentError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if proj_size < 0:
        raise RnnArgumentError(
            "proj_size should be a positive integer or zero to disable projections"
        )
    if proj_size >= hidden_size:
        raise RnnArgumentError("proj_size has to be smaller than hidden_size")
    if proj_size and mode != "LSTM":
        raise RnnArgumentError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            "num_layers greater "
            f"than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, over a sequence.

    Args: input_size, hidden_size: sizes of x and h.  num_layers: stacked.  nonlinearity: "tanh" or "relu".
        batch_first: (B, T, *) instead of (T, B, *).  dropout: between layers.  bidirectional: also backwards.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise RnnArgumentError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory over a sequence.

    i, f, o = sigmoid(W x + b + W' h + b'), g = tanh(...); c' = f c + i g; h' = o tanh(c').

    Args: as RNN; proj_size: size to which h is projected, 0 for none.
    Shape: (T, B, input_size) -> output (T, B, D * hidden_size), (h_n, c_n) of (D * num_layers, B, hidden_size).
    Reference: Hochreiter, Schmidhuber 1997.

    Example:
        >>> import flambeau as fb
        >>> y, (h, c) = fb.nn.LSTM(10, 20, 2)(fb.randn(5, 3, 10))
        >>> y.shape, h.shape
        (flambeau.Size([5, 3, 20]), flambeau.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(RNNBase):
    """Gated recurrent unit over a sequence.

    r, z = sigmoid(W x + b + W' h + b'); n = tanh(W x + b + r (W' h + b')); h' = (1 - z) n + z h.

    Args: as RNN. Reference: Cho et al. 2014.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )


# ---- cells
class RNNCellBase(Module):
    """Base of the cells: weights of one step."""

    mode = ""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        n = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((n, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((n, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(
                name, Parameter(empty(n, device=device, dtype=dtype)) if bias else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew: uniform within 1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """Sizes and whatever is not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def _step(self, mode: str, input: Any, state: tuple[Any, ...] | None) -> tuple[Any, ...]:
        name = type(self).__name__
        rank = len(input._a.shape)
        if rank not in (1, 2):
            raise RnnArgumentError(
                f"{name}: Expected input to be 1D or 2D, got {rank}D instead ({describe(input)})"
            )
        if input._a.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input has inconsistent input_size: got {input._a.shape[-1]}, expected {self.input_size}"
            )
        x = input.unsqueeze(0) if rank == 1 else input
        if state is None:
            zeros = fb.zeros((x._a.shape[0], self.hidden_size), dtype=x.dtype, device=x.device)
            state = (zeros, zeros)[: 2 if mode == "LSTM" else 1]
        elif rank == 1:
            state = tuple(s.unsqueeze(0) for s in state)
        for s in state:
            if s._a.shape != (x._a.shape[0], self.hidden_size):
                raise ShapeError(
                    f"{name}: hidden has inconsistent size: got {describe(s)}, expected "
                    f"{(x._a.shape[0], self.hidden_size)}"
                )
        new = F.cell(mode, x, state, (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh))
        return tuple(s.squeeze(0) for s in new) if rank == 1 else new


class RNNCell(RNNCellBase):
    """One step of RNN: (B, input_size), (B, hidden_size) -> (B, hidden_size)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new state."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RnnArgumentError(f"Unknown nonlinearity: {self.nonlinearity}")
        state = None if hx is None else (hx,)
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, state)[0]  # type: ignore[no-any-return]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (B, input_size), ((B, H), (B, H)) -> ((B, H), (B, H))."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The new states h and c."""
        return self._step("LSTM", input, hx)


class GRUCell(RNNCellBase):
    """One step of GRU: (B, input_size), (B, hidden_size) -> (B, hidden_size)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new state."""
        return self._step("GRU", input, None if hx is None else (hx,))[0]  # type: ignore[no-any-return]
