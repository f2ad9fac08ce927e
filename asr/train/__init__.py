"""Training: from a config and manifests to a model folder."""
