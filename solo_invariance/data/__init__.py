"""Images: files, tensors and datasets as sources of uint8 tensors, and the sets of views among them."""
