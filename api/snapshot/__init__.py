"""etcd's snapshot files: bbolt databases, written from the state and read back."""
