"""N-gram language models: estimated from text, kept in a compact file, asked by the beam search."""
