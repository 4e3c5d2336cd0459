"""What tests of the operator and benchmarks are made of; none of it is in the wheel."""
