"""The loop over images, transforms and views."""
