"""Log-probabilities -> tokens, words, times and confidences."""
