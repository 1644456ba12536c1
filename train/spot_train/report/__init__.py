"""What a run reports about itself: validation metrics, tables and plots."""
