"""The gRPC server: one generic handler over the table of methods."""
