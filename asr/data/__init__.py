"""Manifests, and the batches that training makes of them. (Corpora, before they are manifests: `asr.corpus`.)"""
