#!/usr/bin/python3
"""Messages converted to 7 bits say to Python's email package what they said before.

Usage: seven_readers.py SEVEN_FILTER
"""
import email
import random
import subprocess
import sys

TEXTS = ["häuser\r\n", "plain\r\n", "--b\r\n", "--boundary \r\nx", "trailing blank \r\n\t\r\né", "x" * 2000 + "é",
         "=é=\r\n" * 50, "from é\r\n.\r\n..\r\n", "é" * 30000, "-" * 200 + "é\r\n", "z",
         "-é\r\n" * 3000]


def leaf(rng):
    """An entity with 8bit or binary content, as raw octets."""
    if rng.random() < 0.6:
        text = rng.choice(TEXTS).encode()
        encoding = rng.choice([b"8bit", b"8BIT (a comment)", b"binary", None])
        head = b"Content-Type: text/plain;\r\n charset=utf-8\r\n" if rng.random() < 0.8 else b""
    else:
        text = bytes(rng.choice(b"\xff\xfe\x80 abc-=") for _ in range(rng.choice([0, 1, 2, 3, 100, 40000])))
        encoding = b"8bit"
        head = b"Content-Type: image/x-test\r\n"
    if encoding:
        head += b"content-transfer-encoding: " + encoding + b"\r\n"
    return head + b"\r\n" + text


def entity(rng, depth):
    kind = rng.random()
    if depth > 4 or kind < 0.4:
        return leaf(rng)
    if kind < 0.6:
        head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return head + b"Subject: inner\r\nMIME-Version: 1.0\r\n" + entity(rng, depth + 1)
    boundary = b"=_b%d" % rng.randrange(10**9)
    subtype = rng.choice([b"mixed", b"alternative", b"digest", b"report"])
    out = b"Content-Type: multipart/" + subtype + b"; boundary=\"" + boundary + b"\"\r\n"
    out += b"Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n"
    for _ in range(rng.randrange(1, 4)):
        part = entity(rng, depth + 1)
        out += b"--" + boundary + b"\r\n" + part + b"\r\n"
    return out + b"--" + boundary + b"--\r\nepilogue\r\n"


def content(message):
    """The structure, with decoded leaves."""
    if message.is_multipart():
        return [message.get_content_maintype()] + [content(part) for part in message.get_payload()]
    return message.get_payload(decode=True)


def difference(one, two):
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [difference(a, b) for a, b in zip(one, two) if a != b]
    return repr(one)[:200] + " became " + repr(two)[:200]


def convert(program, octets):
    return subprocess.run([program, "7"], input=octets, check=True, capture_output=True).stdout


def main():
    program = sys.argv[1]
    rng = random.Random(1)
    for n in range(60):
        before = b"From: a@example.com\r\nSubject: test\r\nMIME-Version: 1.0\r\n" + entity(rng, 0)
        after = convert(program, before)
        where = f"message {n}"
        assert all(octet < 128 for octet in after), where
        assert max(map(len, after.split(b"\r\n"))) <= 998, where
        one, two = content(email.message_from_bytes(before)), content(email.message_from_bytes(after))
        if one != two:
            sys.exit(f"{where}: the content differs: {difference(one, two)}")
    print("ok")


main()
