"""The three stages of a training run, each in a container of its own.

fetch      train and validation rows, never the test rows, to a volume        credentials of the store
train      a scikit-learn estimator to one ONNX file on that volume           no credentials
evaluate   vets the file, then measures it on the test rows it fetches now    credentials of the store
"""
