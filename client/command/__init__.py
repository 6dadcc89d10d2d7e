"""The `metastore` command line; begin with main.py."""
