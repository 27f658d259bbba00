"""What families are made of: operations that draw parameters, and apply them to batches of images."""
