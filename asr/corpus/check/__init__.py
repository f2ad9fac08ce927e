"""Will this train? What is wrong with a manifest and its audio, found before you waste training time."""
