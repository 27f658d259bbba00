"""The embedded host: pre-training without solo-learn, with its configuration keys and checkpoint layout."""
