"""What the tests of training share: a bench that runs the three stages, and hand-made ONNX graphs."""
