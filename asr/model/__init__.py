"""The recognizer: recurrent cells, encoder, CTC head, and the folder it is stored in."""
