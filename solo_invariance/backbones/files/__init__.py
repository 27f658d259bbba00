"""Reading and writing files of backbones: whoever wrote them, and nothing of them is run."""
