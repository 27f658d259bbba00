"""Mean and covariance of features on clean reference images: streamed, shared by processes, and kept."""
