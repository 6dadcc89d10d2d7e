"""Who a caller is: tokens, passwords, certificates."""
