"""Messages of version 0.1 of the programs: the newer end understands them, and asks nothing of an older end."""

import pytest

from reachy_gateway.talk.conversation import Conversation, Tell
from reachy_gateway.voice import ConnectionState
from reachy_link import messages as m

HELLO = (
    '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":0,"t_us":81234000000,"kind":"hello",'
    '"mic":{"rate_hz":16000,"channels":2},"speaker":{"rate_hz":16000,"channels":2},"lead_ms":40,"software":"robot-io 0.1.0"}'
)
UP = (
    HELLO,
    '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":1,"t_us":81234200100,"kind":"mic","samples":320}',
    '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":2,"t_us":81234210100,"kind":"activity","event":"start"}',
    (
        '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":3,"t_us":81234220100,"kind":"played","turn":3,"played_ms":10,'
        '"complete":true,"underruns":0,"concealed_ms":0}'
    ),
    '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":4,"t_us":81234230100,"kind":"beat"}',
    '{"v":1,"robot":"reachy-1","boot":"5f0c9d7a41e2b386","seq":5,"t_us":81234240100,"kind":"bye"}',
)
DOWN = (
    (
        '{"v":1,"robot":"reachy-1","boot":"c81d3fa2907be654","seq":0,"t_us":3601001204,"ack":0,"floor":0,'
        '"to_boot":"5f0c9d7a41e2b386","kind":"welcome","software":"gemini-gateway 0.1.0"}'
    ),
    (
        '{"v":1,"robot":"reachy-1","boot":"c81d3fa2907be654","seq":1,"t_us":3601001205,"ack":0,"floor":0,"kind":"state",'
        '"state":"thinking","reason":"","heard_us":81245166902}'
    ),
    '{"v":1,"robot":"reachy-1","boot":"c81d3fa2907be654","seq":2,"t_us":3601001206,"ack":0,"floor":4,"kind":"flush","turn":4}',
)


@pytest.mark.parametrize("text", UP)
def test_what_an_older_robot_says_is_understood(text):
    assert m.UP.validate_json(text).model_dump_json(exclude_none=True) == text


@pytest.mark.parametrize("text", DOWN)
def test_what_an_older_gateway_says_is_understood(text):
    assert m.DOWN.validate_json(text).model_dump_json(exclude_none=True) == text


@pytest.mark.parametrize("body", [None, m.BodyOffer(gestures=("nod",))])
def test_a_robot_without_a_body_is_told_nothing_that_it_does_not_know(body):
    hello = m.UP.validate_json(HELLO).model_copy(update={"body": body})
    conversation = Conversation(hello)
    states = [it for it in conversation.voice(ConnectionState("live"), 10.0) if isinstance(it, Tell) and it.kind is m.State]
    assert ["person_speaks" in state.fields for state in states] == [body is not None]


def test_what_is_newer_is_left_out_by_an_older_end():
    """An older end ignores unknown fields, so a body in a hello does no harm."""

    class Older(m._Message):
        kind: str
        lead_ms: int

    newer = m.UP.validate_json(HELLO).model_copy(update={"body": m.BodyOffer(gestures=("nod",))})
    assert Older.model_validate_json(newer.model_dump_json(exclude_none=True)).lead_ms == 40


def test_a_welcome_and_a_wish_to_leave_that_name_gateways_are_read_by_an_older_robot():
    class Older(m._Down):
        kind: str
        software: str = ""
        reason: str = ""

    sender = {"robot": "reachy-1", "boot": "c81d3fa2907be654", "seq": 0, "t_us": 0}
    for newer in (m.Welcome(**sender, gateways=("box-2.lab",)), m.Leave(**sender, reason="stopping", to="box-2.lab")):
        assert Older.model_validate_json(newer.model_dump_json(exclude_none=True)).kind == newer.kind


def test_an_older_gateway_names_no_gateways():
    assert m.DOWN.validate_json(DOWN[0]).gateways == ()
    older = '{"v":1,"robot":"reachy-1","boot":"c81d3fa2907be654","seq":3,"t_us":1,"kind":"leave","reason":"stopping"}'
    assert m.DOWN.validate_json(older).to is None
