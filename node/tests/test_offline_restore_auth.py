"""A restored cluster has the users and roles of the backup: nobody gets in who could not before."""

from pathlib import Path

from data_directories import make_backup, quiet
from founding import founders

from metastore.engines.auth.guard import DENIED
from metastore.engines.auth.tables import AuthTables, User
from metastore.engines.files import Files
from metastore.engines.snapshot_format import SnapshotReader, write_snapshot
from metastore.node.identity import open_data_directory
from metastore.node.offline.restore import new_identity, opened_engine, restore
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, as_user, auth

NEW_CLUSTER = 99


def with_users(backup: Path, path: Path) -> Path:
    """The same backup, of a cluster in which auth is on."""
    tables = AuthTables()
    tables.put_user("root", User(b"hash", 1, ("root",)))
    tables.put_user("u", User(b"hash", 2))
    tables.enable(b"s" * 32)
    with SnapshotReader(backup, Files()) as reader:
        versions, order = list(reader.versions()), list(reader.order())
        facts = sorted([*reader.facts(), *tables.facts()])
        write_snapshot(path, Files(), reader.header, versions, order, facts)
    return path


def test_users_and_roles_come_from_the_backup(tmp_path: Path) -> None:
    backup = with_users(make_backup(tmp_path / "plain", tmp_path / "old"), tmp_path / "backup")
    identity = new_identity(NEW_CLUSTER, 1, "memory")
    restore(backup, tmp_path / "new", identity, founders((1, 2, 3)), quiet)
    directory = open_data_directory(tmp_path / "new", NEW_CLUSTER, 1, "memory")
    with opened_engine(tmp_path / "new", directory.identity) as (store, _):
        for operations, expected in (
            ([auth(AuthAction.USER_LIST)], ("root", "u")),
            ([auth(AuthAction.CREDENTIALS, "u")], True),
        ):
            (result,) = schema.decode_results(store.read(schema.encode_request(operations)))
            assert result[2] == expected
        denied = schema.encode_request([as_user("u", 1), schema.range_(b"a")])
        assert schema.decode_results(store.read(denied)) == (DENIED,)
    directory.close()
