"""What tests of the operator on a real API server share."""
