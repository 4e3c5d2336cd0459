"""Builds the images from their Dockerfiles, with a Docker engine or with buildah, and loads them into a cluster."""
