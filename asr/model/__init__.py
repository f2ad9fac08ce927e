"""The recognizer: recurrent layers, encoder, CTC head, and the folder it is stored in.

Dimensions, as comments and docstrings name them, here and where log-probabilities are decoded:

    B  utterances in a batch         V  tokens, the blank included
    S  samples of a waveform         U  tokens of a text
    F  frames of features            H  hidden size of a direction
    T  frames of the encoder         D  output size of a layer: H, or 2 H where it is bidirectional
    C  channels of an input, such as mel bands
"""
