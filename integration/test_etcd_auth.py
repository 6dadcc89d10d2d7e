"""etcd's users, roles and tokens against a real etcd: the same steps, the same answers.

Ours are the services in front of one node, called on a loop; etcd is asked by gRPC.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import grpc
import zmq
from auth_steps import LIAR, NOBODY, add, change, everything, get, give, log_in
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from etcd_process import EtcdProcess
from node_processes import NodeProcesses

from metastore.api.access.authenticator import INVALID_TOKEN, Authenticator
from metastore.api.calls import ApiError, Caller, Method, methods
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.auth import Auth
from metastore.api.services.kv import Kv
from metastore.api.services.lease import Lease

START_S = 10.0
ANSWER_S = 20.0
WRONG = "a token that nobody gave out"

Answer = Any  # a message, or (code, text)


class Etcd:
    """A real etcd, through stubs without generated code."""

    def __init__(self, port: int, table: Iterable[Method]) -> None:
        self.tokens: dict[str, str] = {LIAR: WRONG}
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stubs = {
            method.handler.__name__: self._channel.unary_unary(
                method.path,
                request_serializer=method.request_class.SerializeToString,
                response_deserializer=method.reply_class.FromString,
            )
            for method in table
            if not method.takes_stream and not method.sends_stream
        }

    async def ask(self, method: str, request: Any, token: str) -> Answer:
        metadata = [("token", token)] if token else []
        call = self._stubs[method]
        try:
            return await asyncio.to_thread(call, request, timeout=ANSWER_S, metadata=metadata)
        except grpc.RpcError as error:
            return (error.code().value[0], error.details())

    def close(self) -> None:
        self._channel.close()


class Gateway:
    """Services in front of a node, and who they ask who calls."""

    def __init__(self, node: NodeProcesses, context: Any, spec: str = "simple") -> None:
        self.tokens: dict[str, str] = {LIAR: WRONG}
        places = [node.address(1, name) for name in ("client", "status")]
        self.link = NodeLink(*places, context=context)
        self.access = self.link.access = Authenticator(self.link, spec)
        services = (
            ("etcdserverpb.KV", Kv(self.link)),
            ("etcdserverpb.Lease", Lease(self.link)),
            ("etcdserverpb.Auth", Auth(self.link, self.access)),
        )
        self.table = list(methods(services))
        self._handlers = {method.handler.__name__: method.handler for method in self.table}

    async def ask(self, method: str, request: Any, token: str) -> Answer:
        # Over the wire and back: what cannot be encoded is no answer.
        request = type(request).FromString(request.SerializeToString())
        try:
            reply = await self._handlers[method](request, Caller(token))
        except ApiError as error:
            return (int(error.code), error.message)
        return type(reply).FromString(reply.SerializeToString())

    async def close(self) -> None:
        self.access.passwords.close()
        await self.link.close()


async def take(system: Etcd | Gateway, who: str, method: str, request: Any) -> Answer:
    """The answer without what differs by nature; a token is kept for its user."""
    answer = await system.ask(method, request, system.tokens[who] if who else "")
    if isinstance(answer, tuple):
        return answer
    for name in ("cluster_id", "member_id", "raft_term"):
        setattr(answer.header, name, int(getattr(answer.header, name) > 0))
    if method == "authenticate":
        system.tokens[request.name] = answer.token
        answer.token = "a token"
    return answer


def play(node: NodeProcesses, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """The body with what makes gateways of the node."""

    async def main() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        made: list[Gateway] = []

        async def gateway(spec: str = "simple") -> Gateway:
            made.append(Gateway(node, context, spec))
            await made[-1].link.start(START_S)
            return made[-1]

        try:
            await body(gateway)
        finally:
            for one in made:
                await one.close()
            context.term()

    asyncio.run(main())


def one_node(make_cluster: Any) -> NodeProcesses:
    node: NodeProcesses = make_cluster(1, ("--sync", "never"))
    node.start()
    node.leader()
    return node


def test_users_roles_and_tokens_are_those_of_etcd(make_cluster: Any, tmp_path: Path) -> None:
    etcd_process = EtcdProcess(tmp_path)

    async def body(gateway: Any) -> None:
        ours = await gateway()
        etcd = Etcd(etcd_process.port, ours.table)
        refused_count = 0
        try:
            for number, step in enumerate(steps := everything()):
                expected, answer = await take(etcd, *step), await take(ours, *step)
                assert answer == expected, (number, step)
                refused_count += isinstance(answer, tuple)
        finally:
            etcd.close()
        assert len(steps) / 5 < refused_count < len(steps) * 4 / 5

    try:
        play(one_node(make_cluster), body)
    finally:
        etcd_process.stop()


async def with_users(gateway: Gateway) -> None:
    """Auth is on; root's password is "r", ann's "a"."""
    for step in (
        *((NOBODY, "user_add", add(name, name[0])) for name in ("root", "ann")),
        (NOBODY, "user_grant_role", give("root", "root")),
        (NOBODY, "auth_enable", rpc.AuthEnableRequest()),
        *(log_in("root", "r"), log_in("ann", "a")),
    ):
        assert not isinstance(await take(gateway, *step), tuple), step


def test_a_token_counts_on_every_gateway_until_its_user_is_another(make_cluster: Any) -> None:
    myself = rpc.AuthUserGetRequest(name="ann")

    async def body(gateway: Any) -> None:
        one, two = await gateway(), await gateway()
        await with_users(one)
        two.tokens |= one.tokens
        assert not isinstance(await take(two, "ann", "user_get", myself), tuple)
        assert (await take(two, "ann", "range", get(b"k")))[0] == 7
        # What the first has changed, the second has not heard of when it is asked next.
        await take(one, "root", "user_change_password", change("ann", "b"))
        assert await take(two, "ann", "user_get", myself) == (16, INVALID_TOKEN)
        assert not isinstance(await take(two, *log_in("ann", "b")), tuple)
        one.tokens |= two.tokens
        assert not isinstance(await take(one, "ann", "user_get", myself), tuple)
        await take(two, "root", "auth_disable", rpc.AuthDisableRequest())
        assert await take(one, "ann", "user_get", myself) == (16, INVALID_TOKEN)
        assert not isinstance(await take(one, NOBODY, "range", get(b"k")), tuple)

    play(one_node(make_cluster), body)


def test_etcd_and_we_read_each_others_jwts(make_cluster: Any, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (tmp_path / "key").write_bytes(pem)
    spec = f"jwt,priv-key={tmp_path}/key,sign-method=RS256,ttl=10m"
    etcd_process = EtcdProcess(tmp_path, ("--auth-token", spec))

    async def body(gateway: Any) -> None:
        ours = await gateway(spec)
        etcd = Etcd(etcd_process.port, ours.table)
        try:
            for system in (etcd, ours):
                await with_users(system)
            etcd.tokens, ours.tokens = ours.tokens, etcd.tokens
            for system in (etcd, ours):
                reply = await take(system, "root", "user_get", rpc.AuthUserGetRequest(name="root"))
                assert list(reply.roles) == ["root"]
                denied = await take(system, "ann", "range", get(b"k"))
                assert denied == (7, "etcdserver: permission denied")
        finally:
            etcd.close()

    try:
        play(one_node(make_cluster), body)
    finally:
        etcd_process.stop()
