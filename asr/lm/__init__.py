"""N-gram language models: estimated from text, kept in a compact file, queried by the beam search."""
