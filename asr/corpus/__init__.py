"""Corpora offline: download, read in, check, split, describe, hand on. What `asr data` does."""
