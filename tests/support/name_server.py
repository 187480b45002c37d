"""A name server: ``name_server.py ADDRESS RECORDS``.

RECORDS is a file of lines ``NAME ADDRESS``, read for each question. A server whose file is missing does not answer. The line
``* SERVFAIL`` makes the server fail at every question; ``* 1.5`` delays its answers by this many seconds.
"""

import socket
import struct
import sys
import threading
from ipaddress import ip_address
from pathlib import Path

TYPES = {1: 4, 28: 6}
"""A question's type (A, AAAA), and the version of IP."""


def answer(question: bytes, records: str) -> bytes:
    name, at = [], 12
    while length := question[at]:
        name.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind = struct.unpack_from("!H", question, at + 1)[0]
    known = [line.split() for line in records.splitlines()]
    if ["*", "SERVFAIL"] in known:
        return question[:2] + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + question[12 : at + 5]
    addresses = [ip_address(ip) for host, ip in known if host == ".".join(name).lower()]
    found = [ip.packed for ip in addresses if TYPES.get(kind) == ip.version]
    body = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(ip)) + ip for ip in found)
    flags = 0x8580 if addresses else 0x8583  # an unknown name gets NXDOMAIN
    return question[:2] + struct.pack("!5H", flags, 1, len(found), 0, 0) + question[12 : at + 5] + body


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((sys.argv[1], 53))
        print("ready", flush=True)  # noqa: T201
        while True:
            question, asker = server.recvfrom(512)
            try:
                text = Path(sys.argv[2]).read_text()
            except FileNotFoundError:
                continue
            late_s = [float(line.split()[1]) for line in text.splitlines() if line.startswith("* ") and line != "* SERVFAIL"]
            threading.Timer(sum(late_s), server.sendto, (answer(question, text), asker)).start()


if __name__ == "__main__":
    main()
