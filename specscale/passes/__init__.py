"""What is done in one sweep over the rows."""
