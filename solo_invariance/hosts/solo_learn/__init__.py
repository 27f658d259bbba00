"""What solo-learn is given: our backbones in its registry."""
