"""The difference operator and its eigenpairs, from a covariance or matrix-free; rotation, constraints, certificates."""
