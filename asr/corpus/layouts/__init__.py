"""Corpora as others lay them out -> utterances. Each reader takes a path and `failed`, which is told what is wrong with
an utterance that is left out; without it the first such error is raised."""

from asr.corpus.layouts.common import checked, text_lines
from asr.corpus.layouts.detect import LAYOUTS, detect_layout
from asr.corpus.layouts.jsonl import read_lhotse, read_nemo
from asr.corpus.layouts.kaldi import read_kaldi
from asr.corpus.layouts.sidecar import read_audio_alone, read_folder, read_librispeech
from asr.corpus.layouts.table import read_table

__all__ = [
    "LAYOUTS",
    "checked",
    "detect_layout",
    "read_audio_alone",
    "read_folder",
    "read_kaldi",
    "read_lhotse",
    "read_librispeech",
    "read_nemo",
    "read_table",
    "text_lines",
]
