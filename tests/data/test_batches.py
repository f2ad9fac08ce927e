"""Batches by duration: nobody lost, never too long, the same for the same seed, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.batches import duration_batches, padding_fraction


@pytest.fixture
def durations():
    """Like read speech: 1 to 35 s, most around 12."""
    return np.random.default_rng(0).gamma(6.0, 2.0, 5000).clip(1.0, 35.0)


@given(st.lists(st.floats(0.01, 50), max_size=60), st.floats(0.1, 100), st.none() | st.integers(0, 9))
def test_every_utterance_once_and_no_batch_beyond_the_limit(durations, batch_s, seed):
    durations = np.array(durations)
    batches = duration_batches(durations, batch_s, None if seed is None else np.random.default_rng(seed))
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * durations[batch].max() <= batch_s
    assert -1e-9 < padding_fraction(durations, batches) < 1


def test_without_a_generator_batches_go_by_duration_and_are_full():
    durations = np.array([3.0, 1.0, 2.0, 1.0, 9.0, 2.0])
    assert duration_batches(durations, 6.0) == [[1, 3, 2], [5, 0], [4]]


def test_the_generator_decides_everything(durations):
    first, again, other = (duration_batches(durations, 120.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in other}


def test_batches_come_in_random_order(durations):
    longest = [durations[batch].max() for batch in duration_batches(durations, 120.0, np.random.default_rng(0))]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_padding_stays_below_five_percent(durations, seed):
    batches = duration_batches(durations, 120.0, None if seed is None else np.random.default_rng(seed))
    assert 0.0 < padding_fraction(durations, batches) < 0.05
    assert np.mean([len(batch) * durations[batch].max() for batch in batches]) > 0.85 * 120.0


def test_padding_share_counts_the_batches_it_is_given():
    durations = np.array([1.0, 3.0, 2.0, 50.0])
    assert padding_fraction(durations, [[0, 1], [2]]) == pytest.approx(2 / 8)
    assert padding_fraction(durations, []) == 0.0
