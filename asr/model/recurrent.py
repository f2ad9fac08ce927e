"""One recurrent layer that uses PyTorch's fastest kernels for the device; the parameters are the same on each.

The three cells, one time step each. x: (B, C) is the input, h and c: (B, H) the states; σ is the logistic function,
⊙ the product of elements, and (…) stands for W x + b + U h + d, with W, b, U, d of their own in each gate. Tests
compare the kernels with these equations in float64, output and gradient.

Vanilla RNN (Elman 1990): one state, rewritten at every step, so gradients shrink or grow geometrically.

    h' = tanh(…)

LSTM (Hochreiter and Schmidhuber 1997, forget gate by Gers et al. 2000): the cell state c is changed by addition only,
so a gradient survives for as long as the forget gate f stays near 1.

    i = σ(…)   f = σ(…)   g = tanh(…)   o = σ(…)
    c' = f ⊙ c + i ⊙ g
    h' = o ⊙ tanh(c')

GRU (Cho et al. 2014, cuDNN's form: the reset gate r is applied after the product).

    r = σ(…)   z = σ(…)
    n = tanh(W x + b + r ⊙ (U h + d))
    h' = (1 − z) ⊙ n + z ⊙ h
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _VF, Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

MODULES = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
KERNELS: dict[str, Callable[..., Any]] = {"rnn": _VF.rnn_tanh, "lstm": _VF.lstm, "gru": _VF.gru}


class RecurrentLayer(nn.Module):
    """A vanilla RNN, LSTM or GRU layer whose result for an utterance does not depend on the batch's padding.

    The weights belong to an ordinary `nn.RNN/LSTM/GRU`. On the CPU a bidirectional layer runs as two unidirectional
    ones, the second over each sequence reversed within its own length: packing would take PyTorch off its fast kernels
    (`scripts/bench_recurrent.py` prints the ratio). On CUDA cuDNN's bidirectional kernel takes the packed batch.

    precision "bf16" casts input and weights of this layer alone on CUDA; parameters and gradients stay float32.
    """

    def __init__(self, cell: str, inputs: int, width: int, bidirectional: bool, precision: str = "fp32") -> None:
        super().__init__()
        self.cell = cell
        self.bidirectional = bidirectional
        self.precision = precision
        self.rnn = MODULES[cell](inputs, width, batch_first=True, bidirectional=bidirectional)
        if not self.rnn.weight_hh_l0.is_meta:  # otherwise they are to be loaded
            self.reset_parameters()

    @property
    def outputs(self) -> int:
        return self.rnn.hidden_size * (2 if self.bidirectional else 1)

    def reset_parameters(self) -> None:
        """Recurrent matrices start orthogonal gate by gate (Saxe et al. 2014), so that states neither vanish nor
        explode; the LSTM's forget gates start open (Jozefowicz et al. 2015)."""
        width = self.rnn.hidden_size
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.split(width):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_ih"):
                for gate in parameter.split(width):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)
                if self.cell == "lstm" and name.startswith("bias_ih"):
                    with torch.no_grad():
                        parameter[width : 2 * width] = 1.0

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (B, T, C), lengths: (B,) -> (B, T, D), arbitrary past the end."""
        if not self.bidirectional:
            return self._run(x, self.rnn._flat_weights)
        if x.is_cuda:
            return self._run_packed(x, lengths)
        weights = self.rnn._flat_weights
        half = len(weights) // 2
        order = _reversal(lengths, x.shape[1])  # (B, T)
        forward = self._run(x, weights[:half])  # (B, T, H)
        backward = self._run(_reorder(x, order), weights[half:])  # (B, T, H)
        return torch.cat([forward, _reorder(backward, order)], dim=-1)  # (B, T, 2 H)

    def _run(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """One direction over a padded batch: (B, T, C) -> (B, T, H)."""
        x, weights = self._cast(x, weights)
        state = x.new_zeros(1, x.shape[0], self.rnn.hidden_size)  # (directions, B, H)
        states = (state, state) if self.cell == "lstm" else state
        # arguments: has_biases, num_layers, dropout, train, bidirectional, batch_first
        output = KERNELS[self.cell](x, states, weights, True, 1, 0.0, self.training, False, True)[0]
        return output.to(self.rnn.weight_ih_l0.dtype)

    def _run_packed(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Both directions through cuDNN's fused kernel: (B, T, C) -> (B, T, 2 H)."""
        frames = x.shape[1]
        x, weights = self._cast(x, self.rnn._flat_weights)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = x.new_zeros(2, x.shape[0], self.rnn.hidden_size)  # (directions, B, H)
        states = (state, state) if self.cell == "lstm" else state
        run = KERNELS[self.cell]
        data = run(packed.data, packed.batch_sizes, states, weights, True, 1, 0.0, self.training, True)[0]
        output, _ = pad_packed_sequence(packed._replace(data=data), batch_first=True, total_length=frames)
        return output.to(self.rnn.weight_ih_l0.dtype)

    def _cast(self, x: Tensor, weights: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        if self.precision == "bf16" and x.is_cuda:
            return x.bfloat16(), [weight.bfloat16() for weight in weights]
        return x, weights


def _reversal(lengths: Tensor, frames: int) -> Tensor:
    """(B, T): the index that reverses each sequence within its length and leaves the padding where it is."""
    position = torch.arange(frames, device=lengths.device)
    end = lengths.unsqueeze(1)
    return torch.where(position < end, end - 1 - position, position)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order.unsqueeze(-1).expand_as(x))
