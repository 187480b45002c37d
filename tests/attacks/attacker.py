"""``attacker.py ATTACK KEYS_DIR UP_PORT DOWN_PORT SECONDS``: a hostile robot in its own process, for at most this long.

KEYS_DIR has a robot's keys, admitted or not. At the end the program prints how much it did.

People can run ``malformed`` by hand: ``malformed KEYS_DIR UP_PORT DOWN_PORT SECONDS [PER_S]``. A million messages take 500 s
at 2,000 a second.
"""

import json
import os
import secrets
import socket
import sys
import time
from pathlib import Path

import zmq

from reachy_link.keys import load_robot
from reachy_link.sockets import set_dialer

ROBOT, BOOT = "reachy-2", secrets.token_hex(8)


def dial(kind, identity, port):
    made = zmq.Context.instance().socket(kind)
    set_dialer(made, identity.keys, identity.gateway_public)
    made.sndhwm = 20000
    made.connect(f"tcp://127.0.0.1:{port}")
    return made


def connected(pub):
    """Wait until the gateway's own subscription reaches a publisher."""
    assert pub.poll(5000, zmq.POLLIN)
    pub.recv()


def paced(seconds, per_s):
    """Count up, so many numbers a second."""
    began = time.monotonic()
    n = 0
    while (now := time.monotonic()) < began + seconds:
        while n < (now - began) * per_s:
            yield n
            n += 1
        time.sleep(0.001)


def header(**changes):
    fields = {"v": 1, "kind": "mic", "robot": ROBOT, "boot": BOOT, "seq": 0, "t_us": 1, "samples": 320}
    return json.dumps(fields | changes).encode()


def flood(identity, up, down, seconds):
    """Send 6,000 messages a second, of the usual size, each with an invalid header."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    sent = 0
    for n in paced(seconds, 6000):
        sent = n
        pub.send_multipart([b"reachy-2/up", b"{", b"\0" * 1280], zmq.NOBLOCK)
    return sent


def malformed(identity, up, down, seconds, per_s="2000"):
    """Send malformed messages of every kind in turn."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    kinds = [
        lambda: [os.urandom(20), os.urandom(100), os.urandom(500)],
        lambda: [b"reachy-2/up"],
        lambda: [b"reachy-2/up", b"{" * 1000, b""],
        lambda: [b"reachy-2/up", header(kind="dance"), b""],
        lambda: [b"reachy-1/up", header(robot="reachy-1"), b"\0" * 1280],
        lambda: [b"reachy-2/up", header(v=2), b""],
        lambda: [b"reachy-2/up", header(), b"\0" * 1279],
        lambda: [b"reachy-2/up", header(seq=-1), b"\0" * (8193 if sent % 100 == 7 else 8)],
        lambda: [b""] * 20,
        lambda: [b"reachy-2/up", b"[" * 500 + b"]" * 500, b""],
    ]
    sent = 0
    for sent in paced(seconds, int(per_s)):
        pub.send_multipart(kinds[sent % len(kinds)](), zmq.NOBLOCK)
    return sent


def parts(identity, up, down, seconds):
    """Send one message of very many parts."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    for _ in range(150_000):
        pub.send(b"", zmq.SNDMORE)
    pub.send(b"")
    pub.poll(seconds * 1000)
    return 150_000


def endless(identity, up, down, seconds):
    """Send one message of 20 MB in parts of 200 bytes. A relay in between may hold back its end."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    for _ in range(100_000):
        pub.send(b"x" * 200, zmq.SNDMORE)
    pub.send(b"")
    pub.poll(seconds * 1000)
    return 100_000


def spam(identity, up, down, seconds):
    """Make subscriptions that are never granted."""
    sub = dial(zmq.SUB, identity, down)
    n = 0
    until = time.monotonic() + seconds
    for n in range(6000):
        sub.subscribe(b"%06d" % n + b"x" * 194)
        if time.monotonic() > until:
            break
    sub.poll(max(0, (until - time.monotonic()) * 1000))
    return n


def hoard(identity, up, down, seconds):
    """Open as many connections of one admitted key as possible. Half of them subscribe, half are silent."""
    held = []
    for n in paced(seconds, 100):
        if n < 120:
            held.append(dial(zmq.SUB if n % 2 else zmq.PUB, identity, down if n % 2 else up))
            if n % 2:
                held[-1].subscribe(b"reachy-2/down")
        held[n % len(held)].poll(0)  # lets the socket take up its connection
    return len(held)


def restless(identity, up, down, seconds):
    """Act as if the robot restarted with every message: each hello begins a conversation."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    sent = 0
    for sent in paced(seconds, 150):
        hello = header(kind="hello", boot=secrets.token_hex(8), mic=pcm, speaker=pcm, lead_ms=40, software=f"\x1b[2J\n{sent}")
        pub.send_multipart([b"reachy-2/up", hello, b""], zmq.NOBLOCK)
    return sent


def talkative(identity, up, down, seconds):
    """Report turns that never happened. Each report could be a line in the gateway's log."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    pub.send_multipart([b"reachy-2/up", header(kind="hello", mic=pcm, speaker=pcm, lead_ms=40), b""])
    sent = 0
    for sent in paced(seconds, 150):
        played = header(kind="played", seq=sent + 1, turn=sent, played_ms=1, complete=True)
        pub.send_multipart([b"reachy-2/up", played, b""], zmq.NOBLOCK)
    return sent


def pressing(identity, up, down, seconds):
    """Press and release the talk button without end, although the robot's persona has no button."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    pub.send_multipart([b"reachy-2/up", header(kind="hello", mic=pcm, speaker=pcm, lead_ms=40), b""])
    sent = 0
    for sent in paced(seconds, 150):
        activity = header(kind="activity", seq=sent + 1, event=("start", "end")[sent % 2])
        pub.send_multipart([b"reachy-2/up", activity, b""], zmq.NOBLOCK)
    return sent


def lying(identity, up, down, seconds):
    """Act as a body that answers acts that were never asked, answers no real one, and senses impossible values."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    body = {"gestures": ["nod"], "dances": ["sway"], "turns": True, "volume": True, "manner": True}
    pub.send_multipart([b"reachy-2/up", header(kind="hello", mic=pcm, speaker=pcm, lead_ms=40, body=body), b""])
    outcomes = ("started", "done", "cancelled", "refused")
    felt = ("33.3", "-180", "NaN", "1e999", "null", '"left"')
    sent = 0
    for sent in paced(seconds, 150):
        acted = header(kind="acted", seq=sent + 1, id=1000 + sent, outcome=outcomes[sent % 4], reason="\x1b[2J\n" * 60)
        sense = header(kind="sense", seq=sent + 1)[:-1] + b', "person_deg": ' + felt[sent // 2 % len(felt)].encode() + b"}"
        pub.send_multipart([b"reachy-2/up", sense if sent % 2 else acted, b""], zmq.NOBLOCK)
    return sent


def boastful(identity, up, down, seconds):
    """Send hellos with a body that offers ten thousand gestures, or gestures with invalid names."""
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    many = [f"g{n}" for n in range(10_000)]
    offers = ({"gestures": many[:200]}, {"dances": many[:30]}, {"gestures": ["../nod", "Nod", ""]}, [], "nod")
    sent = 0
    for sent in paced(seconds, 30):
        offer = offers[sent % len(offers)] if sent < 20 * seconds else {"gestures": many}
        hello = header(kind="hello", seq=sent, mic=pcm, speaker=pcm, lead_ms=40, body=offer)
        pub.send_multipart([b"reachy-2/up", hello, b""], zmq.NOBLOCK)
    return sent


def slow(identity, up, down, seconds):
    """Ask for as much as allowed on several connections, and read nothing."""
    subs = []
    for _ in range(6):
        sub = zmq.Context.instance().socket(zmq.SUB)
        set_dialer(sub, identity.keys, identity.gateway_public)
        sub.rcvhwm, sub.rcvbuf = 1, 4096
        sub.subscribe(b"reachy-2/down")
        sub.connect(f"tcp://127.0.0.1:{down}")
        subs.append(sub)
    pub = dial(zmq.XPUB, identity, up)
    connected(pub)
    pcm = {"rate_hz": 16000, "channels": 2}
    sent = 0
    for sent in paced(seconds, 180):
        hello = header(kind="hello", seq=sent, t_us=time.monotonic_ns() // 1000, mic=pcm, speaker=pcm, lead_ms=40)
        pub.send_multipart([b"reachy-2/up", hello, b""], zmq.NOBLOCK)
    return sent


def storm(identity, up, down, seconds):
    """Do one handshake after the other, on both ports."""
    done = 0
    for n in paced(seconds, 100):
        done = n
        for port in (up, down):
            pub = dial(zmq.PUB, identity, port)
            pub.poll(1)
            pub.close(linger=0)
    return done


def idle(identity, up, down, seconds):
    """Hold silent connections, and renew them when they are closed."""
    held = []
    closed = 0
    for _ in paced(seconds, 400):
        if len(held) < 300:
            tcp = socket.socket()
            tcp.settimeout(0.5)
            try:
                tcp.connect(("127.0.0.1", up))
            except OSError:
                tcp.close()
                continue
            tcp.settimeout(0)
            held.append(tcp)
        for tcp in held[:10]:
            try:
                while tcp.recv(4096):
                    pass
            except BlockingIOError:
                held.append(held.pop(0))
            except OSError:
                pass
            else:
                held.remove(tcp)
                tcp.close()
                closed += 1
    return closed


if __name__ == "__main__":
    attack, directory, up, down, seconds, *more = sys.argv[1:]
    done = globals()[attack](load_robot(Path(directory)), int(up), int(down), float(seconds), *more)
    sys.stdout.write(f"{done}\n")
    zmq.Context.instance().destroy(linger=0)
