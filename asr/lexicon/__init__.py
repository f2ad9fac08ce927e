"""Pronunciations of words: a dictionary of them, and a model that spells out what it lacks."""
