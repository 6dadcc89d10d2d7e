"""The keys of a local cluster: one pair for its nodes, one for its only client, an administrator.

They stand in DIR/keys with the access file that names both; cluster.json says where, and holds no
secret. Decides nothing else of a cluster.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from cluster.status import Keys

from metastore.transport.errors import KeyFileInvalid
from metastore.transport.security import new_keys, read_key_file, write_key_file

FOLDER = "keys"
ACCESS = """\
[nodes]
keys = ["{node}"]

[clients.admin]
keys = ["{admin}"]
role = "admin"
"""


@dataclass(frozen=True, slots=True)
class KeysLayout:
    """What cluster.json tells a client; the nodes' files stand beside the client's."""

    client_key_file: str
    server_key: str

    @property
    def node_options(self) -> list[str]:
        folder = Path(self.client_key_file).parent
        return ["--key-file", f"{folder}/node.key", "--access-file", f"{folder}/access.toml"]

    @property
    def exports(self) -> str:
        """For a shell: every command in it then uses these keys."""
        return (
            f"export METASTORE_CLIENT_KEY_FILE={shlex.quote(self.client_key_file)} "
            f"METASTORE_CLIENT_SERVER_KEYS={shlex.quote(self.server_key)}"
        )

    def read(self) -> Keys:
        """What a client needs to connect. Raises KeyFileInvalid."""
        return Keys(*read_key_file(self.client_key_file), [self.server_key])


def make(directory: Path) -> KeysLayout:
    """New ones. Raises KeyFileInvalid where there are some already."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    node, admin = new_keys(), new_keys()
    write_key_file(folder / "node.key", node)
    write_key_file(folder / "admin.key", admin)
    access = folder / "access.toml"
    try:
        access.write_text(ACCESS.format(node=node.public, admin=admin.public))
    except OSError as error:
        raise KeyFileInvalid(access, error.strerror or str(error)) from None
    access.chmod(0o644)  # not for everybody to write, whatever the umask is
    return KeysLayout(str(folder / "admin.key"), node.public)
