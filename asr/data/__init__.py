"""Corpora: from archives to manifests, from manifests to batches."""
