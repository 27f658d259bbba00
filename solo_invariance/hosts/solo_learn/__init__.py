"""What solo-learn is given: our backbones in its registry, and arguments that its scripts read."""
