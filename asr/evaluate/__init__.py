"""Error rates with confidence intervals, comparisons, calibration of word confidences, tuning of a language model."""
