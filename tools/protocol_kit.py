"""Writes the protocol's kit, docs/protocol: a JSON Schema of every header, made from the models, and messages as bytes.

``make kit`` calls it after a change of ``reachy_link.messages``; a test compares the files with what it would write.
"""

import ast
import inspect
import json
import struct
from pathlib import Path
from typing import Any, Final, get_args

from reachy_link import messages as m
from reachy_link.wire import HEADER_MAX_BYTES, PAYLOAD_MAX_BYTES

KIT: Final = Path(__file__).parent.parent / "docs" / "protocol"
SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
STEREO: Final = {"rate_hz": 16000, "channels": 2}
UP: Final = {"v": 1, "robot": "reachy-1", "boot": "5f0c9d7a41e2b386", "seq": 412, "t_us": 81242120413}
DOWN: Final = {"v": 1, "robot": "reachy-1", "boot": "c81d3fa2907be654", "seq": 391, "t_us": 3613104877}
ACKED: Final = DOWN | {"ack": 601, "floor": 3, "to_boot": "5f0c9d7a41e2b386", "mic_ms": 40}
SAMPLES: Final = [0, 1, -1, 32767, -32768, 258] + [0] * 634
"""What an audio vector holds: left, right, left, right ..., 320 samples per channel, 20 ms at 16 kHz."""
PCM: Final = struct.pack(f"<{len(SAMPLES)}h", *SAMPLES)

FULL: Final[dict[str, list[dict[str, Any]]]] = {
    "up": [
        {
            "kind": "hello",
            "mic": STEREO,
            "speaker": STEREO,
            "lead_ms": 40,
            "software": "robot-io 0.2.0",
            "body": {"gestures": ["nod", "shake"], "dances": ["sway"], "turns": True, "volume": True, "manner": True},
            "shows_recording": True,
        },
        {"kind": "mic", "samples": 320},
        {"kind": "activity", "event": "start"},
        {
            "kind": "played",
            "turn": 3,
            "played_ms": 2440,
            "complete": False,
            "underruns": 0,
            "concealed_ms": 0,
            "latency_ms": 642,
            "arrived_us": 81245748611,
            "started_us": 81245809377,
            "cut_us": 81248480185,
        },
        {
            "kind": "beat",
            "echo": {"t_us": 3615471020, "received_us": 81248473655},
            "window": 12,
            "overflow": 0,
            "losses": 1,
        },
        {"kind": "acted", "id": 7, "outcome": "refused", "reason": "the motors are off"},
        {"kind": "sense", "person_deg": -35.0, "pose": [0.0, 0.0, 2.0, 0.0, -4.0, 12.5, 0.0, 10.0, -10.0]},
        {"kind": "bye"},
    ],
    "down": [
        {
            "kind": "welcome",
            "software": "gemini-gateway 0.2.0",
            "gateways": ["box-2.lab:5555+5556", "[fd00::3]:5555+5556"],
        },
        {"kind": "refuse", "reason": "this gateway serves 20 robots already (GATEWAY_MAX_ROBOTS)"},
        {"kind": "stranger"},
        {"kind": "leave", "reason": "this gateway is being stopped", "to": "box-2.lab:5555+5556"},
        {"kind": "speaker", "turn": 3, "samples": 320},
        {"kind": "turn_end", "turn": 3, "complete": True},
        {"kind": "flush", "turn": 4},
        {"kind": "act", "id": 7, "name": "gesture", "args": {"name": "nod", "percent": 50.5}, "turn": 4},
        {"kind": "cancel", "id": 7},
        {
            "kind": "state",
            "state": "thinking",
            "reason": "",
            "heard_us": 81245166902,
            "person_speaks": False,
            "recorded": True,
        },
        {"kind": "transcript", "who": "robot", "text": "Grüße 😀", "turn": 3},
        {"kind": "beat", "echo": {"t_us": 81247500120, "received_us": 3614502044}},
    ],
}
"""Each kind with all its fields."""
LEAST: Final[dict[str, list[dict[str, Any]]]] = {
    "up": [
        {"kind": "hello", "mic": STEREO, "speaker": STEREO, "lead_ms": 40},
        {"kind": "played", "turn": 3, "played_ms": 2440, "complete": True},
        {"kind": "beat"},
        {"kind": "acted", "id": 7, "outcome": "done"},
        {"kind": "sense"},
    ],
    "down": [
        {"kind": "welcome"},
        {"kind": "leave", "reason": "this gateway is being stopped"},
        {"kind": "turn_end", "turn": 3},
        {"kind": "act", "id": 7, "name": "stop"},
        {"kind": "cancel"},
        {"kind": "state", "state": "listening"},
        {"kind": "transcript", "who": "person", "text": "Hello."},
        {"kind": "beat"},
    ],
}
"""Each kind that has optional fields, without them."""


def packed(header: dict[str, Any]) -> bytes:
    """A header as our programs write it."""
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()


def vector(
    name: str, way: str, header: bytes, payload: bytes = b"", *, topic: bytes | None = None, **verdict: Any
) -> dict[str, Any]:
    """One vector: the parts in hexadecimal, and what a reader makes of them: ``kind``, or ``error`` with the cause."""
    parts = [topic if topic is not None else f"reachy-1/{way}".encode(), header, payload]
    return {"name": name, "way": way, **verdict, "parts": [part.hex() for part in parts]}


def good() -> list[dict[str, Any]]:
    """A vector of every kind, with all fields and with as few as there may be, and what a reader must tolerate."""
    out = []
    for way, sender in (("up", UP), ("down", ACKED)):
        for fields in FULL[way]:
            audio: dict[str, Any] = {"samples": SAMPLES[:6]} if "samples" in fields else {}
            payload = PCM if audio else b""
            out.append(
                vector(
                    f"{way}: {fields['kind']}, all fields", way, packed(sender | fields), payload, kind=fields["kind"], **audio
                )
            )
        for fields in LEAST[way]:
            header = packed((UP if way == "up" else DOWN) | fields)
            out.append(vector(f"{way}: {fields['kind']}, few fields", way, header, kind=fields["kind"]))
    text = packed(UP | {"kind": "bye"}).decode()
    beat = packed(UP | {"kind": "beat"}).decode()[:-1]
    out += [
        vector("a field that nobody knows", "up", text.replace('"kind"', '"news":[1,{"a":null}],"kind"').encode(), kind="bye"),
        vector("null in an optional field", "up", (beat + ',"echo":null,"window":null}').encode(), kind="beat"),
        vector("space between fields", "up", text.replace(",", " ,\n\t").encode(), kind="bye"),
        vector("a field twice: the last one counts", "up", text.replace('"seq":412', '"seq":1,"seq":412').encode(), kind="bye"),
        vector("a text with escapes", "up", text.replace("reachy-1", "\\u0072eachy-1").encode(), kind="bye"),
        vector(
            "null in shows_recording", "up", packed(UP | FULL["up"][0] | {"shows_recording": None, "body": None}), kind="hello"
        ),
        vector("the largest seq", "up", text.replace('"seq":412', f'"seq":{2**53 - 1}').encode(), kind="bye"),
        vector(
            "an address that nobody can read among others",
            "down",
            packed(DOWN | {"kind": "welcome", "gateways": ["a, b", 7, "box-2.lab:5555+5556"]}),
            kind="welcome",
        ),
        vector(
            "one sample",
            "down",
            packed(DOWN | {"kind": "speaker", "turn": 1, "samples": 1}),
            b"\1\0\2\0",
            kind="speaker",
            samples=[1, 2],
        ),
    ]
    return out


def bad() -> list[dict[str, Any]]:
    """Vectors that a reader drops, each with its cause."""
    bye, mic = UP | {"kind": "bye"}, UP | {"kind": "mic", "samples": 320}
    hello = UP | FULL["up"][0]
    two = vector("two parts", "up", packed(bye), error="parts")
    four = vector("four parts", "up", packed(bye), error="parts")
    two["parts"].pop()
    four["parts"].append("")
    long = packed(bye)[:-1] + b" " * (HEADER_MAX_BYTES + 1 - len(packed(bye))) + b"}"
    headers: list[tuple[str, bytes]] = [
        ("no JSON", b"hello"),
        ("an empty header", b""),
        ("a list", b"[1]"),
        ("not UTF-8", packed(bye).replace(b"reachy-1", b"reachy-\xff")),
        ("without v", packed({name: value for name, value in bye.items() if name != "v"})),
        ("without seq", packed({name: value for name, value in bye.items() if name != "seq"})),
        ("seq as text", packed(bye | {"seq": "412"})),
        ("seq with a fraction", packed(bye).replace(b'"seq":412', b'"seq":412.0')),
        ("seq below 0", packed(bye | {"seq": -1})),
        ("seq of 2^53", packed(bye | {"seq": 2**53})),
        ("a boolean as number", packed(bye | {"seq": True})),
        ("a boot in upper case", packed(bye | {"boot": "5F0C9D7A41E2B386"})),
        ("a name with a slash", packed(bye | {"robot": "reachy/1"})),
        ("null in a field that must be there", packed(bye | {"t_us": None})),
        ("0 samples", packed(mic | {"samples": 0})),
        ("a lead that is too short", packed(hello | {"lead_ms": 9})),
        ("a rate that is too high", packed(hello | {"mic": {"rate_hz": 96000, "channels": 2}})),
        ("three channels", packed(hello | {"speaker": {"rate_hz": 16000, "channels": 3}})),
        ("another event", packed(UP | {"kind": "activity", "event": "pause"})),
        ("null in a field with a default", packed(hello | {"software": None})),
        ("without kind", packed(UP)),
        ("v as text", packed(bye | {"v": "1"})),
        ("v with a fraction", packed(bye).replace(b'"v":1', b'"v":1.0')),
    ]
    return [
        two,
        four,
        vector("a topic that is too long", "up", packed(bye), topic=b"r" * 69, error="topic"),
        vector("another robot's topic", "up", packed(bye), topic=b"reachy-2/up", error="topic"),
        vector("the topic of the other direction", "up", packed(bye), topic=b"reachy-1/down", error="topic"),
        vector("a header that is too long", "up", long, error="oversized"),
        vector(
            "a payload that is too long", "up", packed(mic | {"samples": 2049}), bytes(PAYLOAD_MAX_BYTES + 4), error="oversized"
        ),
        vector("another version", "up", packed(bye | {"v": 2}), error="version"),
        vector("another version that looks otherwise", "up", b'{"v":2,"type":"bye"}', error="version"),
        vector("a kind that nobody knows", "up", packed(UP | {"kind": "picture"}), error="kind"),
        vector("a number as kind", "up", packed(UP | {"kind": 5}), error="kind"),
        vector("another version and an unknown kind", "up", packed(UP | {"v": 0, "kind": "picture"}), error="version"),
        vector("an unknown kind with a bad seq", "up", packed(UP | {"kind": "picture", "seq": -1}), error="kind"),
        vector("another robot's topic, and a bad seq", "up", packed(bye | {"seq": -1}), topic=b"reachy-2/up", error="header"),
        vector("a kind of the other direction", "up", packed(DOWN | {"kind": "flush", "turn": 4}), error="kind"),
        *(vector(name, "up", header, error="header") for name, header in headers),
        vector("a state that nobody knows", "down", packed(DOWN | {"kind": "state", "state": "asleep"}), error="header"),
        vector("another version, down", "down", packed(DOWN | {"v": 2, "kind": "stranger"}), error="version"),
        vector("a kind of the other direction, down", "down", packed(DOWN | {"kind": "bye"}), error="kind"),
        vector(
            "another robot's topic, down", "down", packed(DOWN | {"kind": "stranger"}), topic=b"reachy-2/down", error="topic"
        ),
        vector("audio that is too long, down", "down", packed(DOWN | FULL["down"][4]), PCM + b"\0\0", error="payload"),
        vector("an argument that is a list", "down", packed(DOWN | FULL["down"][7] | {"args": {"name": []}}), error="header"),
        vector("audio that is too short", "up", packed(mic), PCM[:-2], error="payload"),
        vector("audio in mono, after a hello in stereo", "up", packed(mic), PCM[:640], error="payload"),
        vector("audio behind a message without audio", "up", packed(bye), b"\0\0", error="payload"),
    ]


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's with what it cannot know: the docstrings of fields; that a default of ours is for who sends."""
    for name, definition in schema["$defs"].items():
        model = getattr(m, name, None)
        if model is None:
            continue  # the format of PCM: its fields have no docstrings
        definition["description"] = " ".join((inspect.getdoc(model) or "").split()).replace("``", "")
        for base in model.__mro__:
            if base.__module__ != m.__name__:
                continue
            body = ast.parse(inspect.getsource(base)).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, words in zip(body.body, body.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
                    assert isinstance(field.target, ast.Name)
                    text = " ".join(str(words.value.value).split()).replace("``", "")
                    definition["properties"][field.target.id]["description"] = text
        if issubclass(model, m._Message):  # noqa: SLF001
            definition["required"] = ["v", "kind", *definition["required"]]
            for always in ("v", "kind"):
                del definition["properties"][always]["default"]
        for properties in definition["properties"].values():
            properties.pop("title", None)
            if "patternProperties" in properties:
                properties["additionalProperties"] = False
    return schema


def files() -> dict[str, str]:
    """The text of each file of the kit that is made."""
    out = {}
    for way, adapter, kinds in (("up", m.UP, m.Up), ("down", m.DOWN, m.Down)):
        schema = described(adapter.json_schema())
        head = {
            "$schema": SCHEMA,
            "title": f"A header {way}",
            "description": f"Version {m.VERSION} of the robot link: docs/protocol.md. {len(get_args(kinds))} kinds.",
        }
        out[f"{way}.schema.json"] = json.dumps(head | schema, indent=1, ensure_ascii=False) + "\n"
    about = (
        "parts are in hexadecimal. A reader that knows a hello with 16 kHz and two channels both ways takes a message as kind "
        "or drops it for the cause error. samples are the first ones of the payload: left, right, left, right ..."
    )
    rows = ",\n".join(json.dumps(each, ensure_ascii=False) for each in [*good(), *bad()])
    out["vectors.json"] = f'{{"about": {json.dumps(about)},\n"vectors": [\n{rows}\n]}}\n'
    return out


if __name__ == "__main__":
    for name, text in files().items():
        (KIT / name).write_text(text, encoding="utf-8")
        print(KIT / name)
