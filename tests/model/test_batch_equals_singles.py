"""Padding must not change a result: every cell and direction, forward and backward, from waveform to loss."""

import pytest
import torch

from asr.augment import SpecAugment
from asr.config import AugmentConfig, FeatureConfig, FrequencyMaskConfig, ModelConfig, TextConfig, TimeMaskConfig
from asr.lengths import encoder_frames
from asr.model.ctc import ctc
from asr.model.recognizer import Encoder, Recognizer
from asr.text import Tokenizer

LENGTHS = [8000, 801, 5000, 79]  # samples at 8 kHz; the last is shorter than a window


def make(cell="lstm", bidirectional=True, subsampling=4, normalize="utterance", kind="logmel", **model):
    torch.manual_seed(4)
    recognizer = Recognizer(
        FeatureConfig(sample_rate=8000, n_mels=20, n_mfcc=13, normalize=normalize, kind=kind),
        TextConfig(),
        ModelConfig(
            cell=cell,
            layers=2,
            hidden_size=12,
            bidirectional=bidirectional,
            subsampling=subsampling,
            dropout=0.0,
            **model,
        ),
        Tokenizer("characters", ("<blank>", " ", "a", "b")),
    )
    torch.nn.init.normal_(recognizer.head.projection.weight)  # it starts at zero, which would hide differences
    return recognizer


def padded(waveforms):
    return torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), torch.tensor([len(w) for w in waveforms])


def noise(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(5)
    return [0.1 * torch.randn(n, generator=generator) for n in lengths]


@pytest.mark.parametrize("normalize", ["utterance", "global", "none"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_forward(cell, bidirectional, normalize):
    recognizer = make(cell, bidirectional, normalize=normalize).eval()
    log_probs, lengths = recognizer(*padded(noise()))
    for row, waveform in enumerate(noise()):
        alone, length = recognizer(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
        assert length.item() == lengths[row].item() == recognizer.output_frames(len(waveform)) == alone.shape[1]
        torch.testing.assert_close(log_probs[row, : lengths[row]], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("subsampling", [1, 2, 4])
@pytest.mark.parametrize("options", [{"residual": False}, {"layer_norm": False}, {"kind": "mfcc"}])
def test_forward_in_every_shape_of_encoder(subsampling, options):
    recognizer = make(subsampling=subsampling, **options).eval()
    log_probs, lengths = recognizer(*padded(noise()))
    for row, waveform in enumerate(noise()):
        alone, _ = recognizer(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
        torch.testing.assert_close(log_probs[row, : lengths[row]], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradient(cell, bidirectional):
    """The gradient of the summed loss equals the sum of the gradients of the losses alone."""
    recognizer = make(cell, bidirectional, normalize="global").train()
    waveforms = noise()[:3]
    tokens = torch.tensor([[2, 3, 3], [2, 0, 0], [3, 2, 0]])
    token_lengths = torch.tensor([3, 1, 2])

    def gradients(rows):
        recognizer.zero_grad()
        log_probs, lengths = recognizer(*padded([waveforms[row] for row in rows]))
        loss = ctc(log_probs, lengths, tokens[rows], token_lengths[rows])
        assert loss.infeasible == 0
        loss.total.backward()
        return {name: p.grad.clone() for name, p in recognizer.named_parameters()}

    together = gradients([0, 1, 2])
    alone = [gradients([row]) for row in range(3)]
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, sum(g[name] for g in alone), rtol=1e-3, atol=1e-4, msg=name)
        assert gradient.abs().max() > 0, name


def test_a_neighbor_full_of_nan_changes_nothing():
    recognizer = make().eval()
    waveforms = noise()
    clean, lengths = recognizer(*padded(waveforms))
    broken, _ = recognizer(*padded([torch.full_like(waveforms[0], torch.nan), *waveforms[1:]]))
    for row in range(1, len(waveforms)):
        torch.testing.assert_close(clean[row, : lengths[row]], broken[row, : lengths[row]])


def test_values_in_the_padding_change_nothing():
    recognizer = make().eval()
    batch, lengths = padded(noise())
    expected, frames = recognizer(batch, lengths)
    for row, length in enumerate(lengths):
        batch[row, length:] = torch.inf
    got, _ = recognizer(batch, lengths)
    for row, length in enumerate(frames):
        torch.testing.assert_close(got[row, :length], expected[row, :length])


def test_masks_stay_inside_the_utterance():
    features, lengths = torch.ones(3, 50, 20), torch.tensor([50, 10, 1])
    config = AugmentConfig(
        time_mask=TimeMaskConfig(count=2, max_frames=20), frequency_mask=FrequencyMaskConfig(count=1, max_bins=5)
    )
    masked = SpecAugment(config, seed=0)(features, lengths)
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    again = SpecAugment(config, seed=0)(features, lengths)
    assert torch.equal(masked, again)


@pytest.mark.parametrize("subsampling", [1, 2, 4])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_length_formula_is_what_the_encoder_gives(subsampling, bidirectional):
    encoder = Encoder(ModelConfig(layers=1, hidden_size=4, subsampling=subsampling, bidirectional=bidirectional), 8)
    for frames in range(1, 20):
        output, lengths = encoder(torch.randn(1, frames, 8), torch.tensor([frames]))
        assert output.shape[1] == lengths.item() == encoder_frames(frames, subsampling)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_unidirectional_is_causal(cell):
    """No output frame depends on features later than the last one it subsamples."""
    encoder = Encoder(ModelConfig(cell=cell, layers=2, hidden_size=6, bidirectional=False, dropout=0.0), 8).eval()
    features = torch.randn(1, 40, 8)
    output, _ = encoder(features, torch.tensor([40]))
    changed = features.clone()
    changed[:, 21:] = 9.0
    other, _ = encoder(changed, torch.tensor([40]))
    torch.testing.assert_close(output[:, : 20 // 4 + 1], other[:, : 20 // 4 + 1])
    assert not torch.allclose(output[:, -1], other[:, -1])
