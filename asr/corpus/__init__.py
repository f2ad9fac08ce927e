"""What `asr data` does with corpora: download, import, check, split, describe, export."""
