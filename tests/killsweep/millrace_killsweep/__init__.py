"""The operator killed after every effective write, while the closed loop runs and a caller must not notice."""
