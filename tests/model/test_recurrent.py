"""The written-out equations and PyTorch's kernels are the same function: forward and gradient, in float64."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from asr.model.recurrent import MODULES, RecurrentLayer
from asr.util.runtime import set_precision


class Parameters(NamedTuple):
    """In torch's layout: (gates × H, C), (gates × H, H) and (gates × H,), the gates one below the other."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def run_cell(cell: str, x: Tensor, p: Parameters) -> Tensor:
    """The equations of a cell over time, from zero states. x: (B, T, C) -> (B, T, H)."""
    h = c = x.new_zeros(x.shape[0], p.weight_hh.shape[1])
    outputs = []
    for frame in x.unbind(1):
        from_input, from_state = linear(frame, p.weight_ih, p.bias_ih), linear(h, p.weight_hh, p.bias_hh)
        if cell == "rnn":
            h = torch.tanh(from_input + from_state)
        elif cell == "lstm":
            i, f, g, o = (from_input + from_state).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        else:
            (r, z, n), (r_h, z_h, n_h) = from_input.chunk(3, dim=-1), from_state.chunk(3, dim=-1)
            z = torch.sigmoid(z + z_h)
            h = (1 - z) * torch.tanh(n + torch.sigmoid(r + r_h) * n_h) + z * h
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def parameters(module: torch.nn.RNNBase, suffix: str = "") -> Parameters:
    return Parameters(*(getattr(module, f"{name}_l0{suffix}") for name in Parameters._fields))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_equations_equal_kernels_forward_and_gradient(cell):
    torch.manual_seed(1)
    module = MODULES[cell](5, 7, batch_first=True).double()
    x = torch.randn(3, 11, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 11, 7, dtype=torch.float64)  # a random direction to take the gradient in

    def gradients(output):
        return torch.autograd.grad((output * weight).sum(), [x, *module.parameters()])

    ours, torchs = run_cell(cell, x, parameters(module)), module(x)[0]
    torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(ours), gradients(torchs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_layer_equals_equations_on_each_sequence_alone(cell, bidirectional):
    """The layer over a padded batch against the equations run over each sequence, the second direction backwards."""
    torch.manual_seed(2)
    layer = RecurrentLayer(cell, 4, 6, bidirectional).double()
    lengths = torch.tensor([9, 1, 5])
    x = torch.randn(3, 9, 4, dtype=torch.float64, requires_grad=True)
    output = layer(x, lengths)
    expected = []
    for row, length in enumerate(lengths.tolist()):
        alone = x[row : row + 1, :length]
        directions = [run_cell(cell, alone, parameters(layer.rnn))]
        if bidirectional:
            backward = run_cell(cell, alone.flip(1), parameters(layer.rnn, "_reverse"))
            directions.append(backward.flip(1))
        expected.append(torch.cat(directions, dim=-1))
    leaves = [x, *layer.parameters()]
    got = sum((output[row, :length].square()).sum() for row, length in enumerate(lengths.tolist()))
    want = sum(e.square().sum() for e in expected)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(output[row : row + 1, :length], expected[row], rtol=1e-12, atol=1e-12)
    for a, b in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_layer_equals_packed_module(cell):
    """The same numbers as the usual way, packed sequences through the bidirectional module."""
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, 8, 16, bidirectional=True)
    lengths = torch.tensor([20, 13, 2, 20])
    x = torch.randn(4, 20, 8)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(layer.rnn(packed)[0], batch_first=True)
    output = layer(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(output[row, :length], expected[row, :length], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_way_for_cuda_gives_the_same(cell):
    """The packed path that CUDA takes, run on the CPU."""
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, 8, 16, bidirectional=True)
    lengths = torch.tensor([2, 20, 13])
    x = torch.randn(3, 20, 8)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            layer(x, lengths)[row, :length], layer._run_packed(x, lengths)[row, :length], rtol=1e-5, atol=1e-5
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_cuda_equals_cpu(cell, bidirectional, precision):
    torch.manual_seed(3)
    layer = RecurrentLayer(cell, 8, 16, bidirectional)
    lengths = torch.tensor([2, 20, 13])
    x = torch.randn(3, 20, 8)
    expected = layer(x, lengths)
    layer.precision = precision
    set_precision(precision)
    output = layer.cuda()(x.cuda(), lengths.cuda())
    assert output.dtype == torch.float32
    tolerance = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 3e-2}[precision]
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(output[row, :length].cpu(), expected[row, :length], rtol=0, atol=tolerance)


def test_forget_gates_start_open_and_recurrent_matrices_orthogonal():
    layer = RecurrentLayer("lstm", 4, 8, bidirectional=True)
    for suffix in ("", "_reverse"):
        p = parameters(layer.rnn, suffix)
        forget = (p.bias_ih + p.bias_hh)[8:16]
        torch.testing.assert_close(forget, torch.ones(8))
        for gate in p.weight_hh.split(8):
            torch.testing.assert_close(gate @ gate.T, torch.eye(8), atol=1e-5, rtol=0)
