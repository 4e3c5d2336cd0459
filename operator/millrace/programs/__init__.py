"""Programs that run in pods from their own text, where the image holds nothing of ours. Standard library only."""
