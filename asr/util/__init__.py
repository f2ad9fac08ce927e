"""Helpers that have nothing to do with speech: files, formats, devices, threads, compiled code, libraries."""
