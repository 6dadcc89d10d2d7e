"""Who may connect is asked of one function; whatever it does, the handler lives and lets nobody in
by mistake."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import keyed
import pytest
import zmq

from metastore.transport.zap import BROKEN, MALFORMED, NOT_CURVE, ZAP_ENDPOINT, ZapHandler

NOT_KNOWN = "its key is not known"
Eventually = Callable[[Callable[[], Any]], Any]
Start = Callable[..., ZapHandler]


def known_only(domain: str, key: str) -> str:
    return "" if key == keyed.KNOWN.public else NOT_KNOWN


@pytest.fixture
def start(context: zmq.Context[Any]) -> Iterator[Start]:
    started: list[ZapHandler] = []

    def start(allow: Any = known_only, died: Any = lambda error: pytest.fail(repr(error))) -> Any:
        started.append(ZapHandler(context, allow, died))
        return started[-1]

    yield start
    for handler in started:
        handler.close()


def test_a_known_key_is_let_in_and_names_its_messages(
    context: zmq.Context[Any], start: Start
) -> None:
    start()
    router, address = keyed.listen(context)
    client = keyed.connect(context, address)
    client.send(b"hello")
    assert router.poll(keyed.WAIT_MS)
    frame = router.recv(copy=False)
    assert frame.get("User-Id") == keyed.KNOWN.public


def test_an_unknown_key_is_refused_counted_and_logged_once_with_who_and_why(
    context: zmq.Context[Any],
    start: Start,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = start()
    router, address = keyed.listen(context)
    strangers = [keyed.connect(context, address, keyed.UNKNOWN) for _ in range(3)]
    for stranger in strangers:
        stranger.send(b"let me in")
    eventually(lambda: handler.counters().get("client", {}).get(NOT_KNOWN, 0) >= 3)
    client = keyed.connect(context, address)
    client.send(b"known")
    assert keyed.hears(router) == b"known"
    assert [record.getMessage() for record in caplog.records] == [
        "refused a connection to the client socket from "
        f"key {keyed.UNKNOWN.public} at 127.0.0.1: {NOT_KNOWN}"
    ]
    for keys in (keyed.SERVER, keyed.KNOWN, keyed.UNKNOWN):
        assert keys.secret not in caplog.text


def test_the_socket_decides_which_keys_are_asked_for(  # a client's key opens no peer socket
    context: zmq.Context[Any], start: Start, eventually: Eventually
) -> None:
    handler = start(lambda domain, key: "" if domain == "client" else f"not for {domain}")
    peers, peer_address = keyed.listen(context, "peer")
    clients, client_address = keyed.listen(context, "client")
    intruder = keyed.connect(context, peer_address)
    intruder.send(b"a client among peers")
    client = keyed.connect(context, client_address)
    client.send(b"a client among clients")
    assert keyed.hears(clients) == b"a client among clients"
    eventually(lambda: handler.counters().get("peer", {}).get("not for peer"))
    assert not peers.poll(0)


def test_without_a_handler_nobody_is_let_in(
    context: zmq.Context[Any], start: Start, eventually: Eventually
) -> None:
    router, address = keyed.listen(context)
    monitor = router.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_SUCCEEDED
    )
    client = keyed.connect(context, address)
    client.send(b"anybody here?")
    assert monitor.poll(keyed.WAIT_MS)
    event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
    router.disable_monitor()
    assert event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert not router.poll(0)


def test_a_new_handler_takes_over_on_the_same_context(  # H8
    context: zmq.Context[Any], start: Start
) -> None:
    router, address = keyed.listen(context)
    for number in range(5):
        handler = start()
        client = keyed.connect(context, address)
        client.send(b"%d" % number)
        assert keyed.hears(router) == b"%d" % number
        handler.close()
        client.send(b"the connection stays")
        assert keyed.hears(router) == b"the connection stays"


def test_the_name_of_a_handler_is_free_as_soon_as_it_is_closed(start: Start) -> None:
    for _ in range(80):  # without an unbind one in fifteen is refused
        start().close()


def test_a_second_handler_on_a_context_is_refused(start: Start) -> None:
    start()
    with pytest.raises(zmq.ZMQError):
        start()


def test_a_check_that_raises_refuses_and_the_next_one_is_answered(
    context: zmq.Context[Any],
    start: Start,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def allow(domain: str, key: str) -> str:
        if key == keyed.UNKNOWN.public:
            raise RuntimeError("the check is broken")
        return ""

    handler = start(allow)
    router, address = keyed.listen(context)
    unlucky = keyed.connect(context, address, keyed.UNKNOWN)
    unlucky.send(b"x")
    eventually(lambda: handler.counters().get("client", {}).get(BROKEN))
    client = keyed.connect(context, address)
    client.send(b"known")
    assert keyed.hears(router) == b"known"
    assert "the check is broken" in caplog.text


def test_a_death_of_the_handler_is_reported_and_lets_nobody_in(
    context: zmq.Context[Any], start: Start
) -> None:
    deaths: queue.Queue[BaseException] = queue.Queue()

    def die(domain: str, key: str) -> str:
        raise SystemExit("gone")  # no Exception: nothing may survive it

    start(die, deaths.put)
    router, address = keyed.listen(context)
    client = keyed.connect(context, address)
    client.send(b"x")
    assert isinstance(deaths.get(timeout=keyed.WAIT_MS / 1000), SystemExit)
    assert not router.poll(0)


KEY = b"k" * 32
QUESTION = [b"", b"1.0", b"1", b"client", b"10.0.0.9", b"", b"CURVE", KEY]


def ask(context: zmq.Context[Any], question: list[bytes]) -> list[bytes]:
    """As libzmq would; a well-formed one afterwards shows whether there was an answer at all."""
    asking = context.socket(zmq.DEALER)
    asking.setsockopt(zmq.LINGER, 0)
    asking.setsockopt(zmq.RCVTIMEO, keyed.WAIT_MS)
    asking.connect(ZAP_ENDPOINT)
    asking.send_multipart(question)
    asking.send_multipart([b"", b"1.0", b"last", *QUESTION[3:]])
    answer: list[bytes] = asking.recv_multipart()
    if answer[2] != b"last":
        assert asking.recv_multipart()[2] == b"last"
    return answer


@pytest.mark.parametrize(
    "question", [[b"x"], [b"", b"1.0"], [b"x", b"1.0", b"1", b"client"], [b""]]
)
def test_a_question_without_a_sender_is_dropped_and_counted(
    context: zmq.Context[Any], start: Start, question: list[bytes]
) -> None:
    handler = start()
    assert ask(context, question)[2] == b"last"
    assert handler.counters()[""] == {MALFORMED: 1}


@pytest.mark.parametrize(
    "question",
    [
        [b"", b"2.0", *QUESTION[2:]],
        QUESTION[:-1],
        QUESTION[:-2],
        [*QUESTION[:-1], KEY[:-1]],
        [*QUESTION, KEY],
    ],
)
def test_a_malformed_question_is_answered_with_a_failure(
    context: zmq.Context[Any], start: Start, question: list[bytes]
) -> None:
    start(lambda domain, key: "")
    answer = ask(context, question)
    assert answer[:4] == [b"", b"1.0", b"1", b"500"]
    assert len(answer) == 7


@pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN", b"GSSAPI", b""])
def test_only_curve_proves_who_somebody_is(
    context: zmq.Context[Any], start: Start, mechanism: bytes
) -> None:
    handler = start(lambda domain, key: "")
    assert ask(context, [*QUESTION[:6], mechanism, KEY])[3] == b"400"
    assert handler.counters()["client"] == {NOT_CURVE: 1}


def test_a_long_reason_is_cut_to_what_the_protocol_takes(
    context: zmq.Context[Any], start: Start
) -> None:
    start(lambda domain, key: "because " * 1000)
    assert len(ask(context, QUESTION)[4]) == 255


def test_hostile_bytes_in_a_question_do_not_end_the_handler(
    context: zmq.Context[Any], start: Start
) -> None:
    start()
    assert (
        ask(context, [b"", b"1.0", b"1", b"\xff\xfe", b"\xff", b"\0", b"CURVE", KEY])[3] == b"400"
    )
