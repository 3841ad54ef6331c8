"""What a comparison leaves behind: its directory, its arrays and its records."""
