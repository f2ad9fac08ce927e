"""The three recurrent cells, written out. Each function is one time step, in plain PyTorch, gate by gate.

These are the reference: the encoder runs PyTorch's own kernels (`recurrent.py`), and tests hold the two together in
float64, forward and gradient. Parameters have torch's layout, gates stacked by rows in the order given for each cell:

    weight_ih: (gates × hidden, inputs)   weight_hh: (gates × hidden, hidden)   bias_ih, bias_hh: (gates × hidden,)

x: (B, C) and states (B, H), σ is the logistic function, ⊙ the product of elements.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class Parameters(NamedTuple):
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def rnn_step(x: Tensor, hidden: Tensor, p: Parameters) -> Tensor:
    """Vanilla RNN (Elman 1990): one state, rewritten at every step, so gradients shrink or grow geometrically.

    h' = tanh(W_ih x + b_ih + W_hh h + b_hh)
    """
    return torch.tanh(linear(x, p.weight_ih, p.bias_ih) + linear(hidden, p.weight_hh, p.bias_hh))


def lstm_step(x: Tensor, hidden: Tensor, cell: Tensor, p: Parameters) -> tuple[Tensor, Tensor]:
    """LSTM (Hochreiter and Schmidhuber 1997, forget gate by Gers et al. 2000); rows: input, forget, candidate, output.

    The cell state is changed by addition only, so a gradient survives for as long as the forget gate stays near 1.

    i = σ(…)   f = σ(…)   g = tanh(…)   o = σ(…)
    c' = f ⊙ c + i ⊙ g
    h' = o ⊙ tanh(c')
    """
    gates = linear(x, p.weight_ih, p.bias_ih) + linear(hidden, p.weight_hh, p.bias_hh)
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    hidden = torch.sigmoid(output_gate) * torch.tanh(cell)
    return hidden, cell


def gru_step(x: Tensor, hidden: Tensor, p: Parameters) -> Tensor:
    """GRU (Cho et al. 2014, cuDNN's form: reset applied after the product); rows: reset, update, candidate.

    r = σ(…)   z = σ(…)
    n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))
    h' = (1 − z) ⊙ n + z ⊙ h
    """
    reset_x, update_x, candidate_x = linear(x, p.weight_ih, p.bias_ih).chunk(3, dim=-1)
    reset_h, update_h, candidate_h = linear(hidden, p.weight_hh, p.bias_hh).chunk(3, dim=-1)
    reset_gate = torch.sigmoid(reset_x + reset_h)
    update_gate = torch.sigmoid(update_x + update_h)
    candidate = torch.tanh(candidate_x + reset_gate * candidate_h)
    return (1 - update_gate) * candidate + update_gate * hidden


def run_cell(name: str, x: Tensor, p: Parameters) -> Tensor:
    """A cell over time from a zero state. x: (B, T, C) -> (B, T, H)."""
    hidden = x.new_zeros(x.shape[0], p.weight_hh.shape[1])
    cell = torch.zeros_like(hidden)
    outputs = []
    for frame in x.unbind(1):
        if name == "rnn":
            hidden = rnn_step(frame, hidden, p)
        elif name == "lstm":
            hidden, cell = lstm_step(frame, hidden, cell, p)
        elif name == "gru":
            hidden = gru_step(frame, hidden, p)
        else:
            raise ValueError(f"no cell named {name!r}")
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


GATES = {"rnn": 1, "lstm": 4, "gru": 3}
