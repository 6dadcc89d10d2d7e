"""One file per service of etcd: messages in, operations of the node out, messages back."""
