"""Small dense mathematics: the difference operator D C and its eigenpairs."""
