"""Long runs with random faults, simulated and real: `make soak`."""
