#!/usr/bin/python3
"""Programs that others use to read reports read ours: the right recipients, the right status.

Usage: report_readers.py REPORT_SAMPLE
"""
import email
import email.policy
import subprocess
import sys

from flufl.bounce import all_failures

PERL = """
use Mail::DeliveryStatus::BounceParser;
local $/;
my $bounce = Mail::DeliveryStatus::BounceParser->new(<STDIN>);
print $bounce->is_bounce ? "bounce" : "no bounce", "\\n";
for my $report ($bounce->reports) {
    print join(" ", $report->get("email"), $report->get("std_reason"), $report->get("smtp_code") // ""), "\\n";
}
"""


def sample(program, kind):
    return subprocess.run([program, kind], check=True, capture_output=True).stdout


def flufl(octets):
    temporary, permanent = all_failures(email.message_from_bytes(octets))
    return sorted(temporary), sorted(permanent)


def bounce_parser(octets):
    # It reads local files, whose lines end in LF.
    octets = octets.replace(b"\r\n", b"\n")
    run = subprocess.run(["perl", "-e", PERL], input=octets, check=True, capture_output=True)
    return run.stdout.decode().splitlines()


def statuses(octets, subtype="delivery-status"):
    """The blocks of the second part, each a dict of its fields."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report", message.get_content_type()
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert not message.defects, message.defects
    parts = message.get_payload()
    assert parts[0].get_content_type() == "text/plain"
    assert parts[1].get_content_type() == "message/" + subtype, parts[1].get_content_type()
    for part in message.walk():
        assert not part.defects, (part.get_content_type(), part.defects)
    return parts


def check(name, got, expected):
    if got != expected:
        sys.exit(f"{name}: {got!r}, expected {expected!r}")


def main():
    program = sys.argv[1]

    one = sample(program, "failed")
    check("flufl, one failed", flufl(one), ([], [b"bob@example.net"]))
    check("BounceParser, one failed", bounce_parser(one), ["bounce", "bob@example.net user_unknown 550"])
    parts = statuses(one)
    blocks = parts[1].get_payload()
    check("envelope id", blocks[0]["Original-Envelope-Id"], "QQ+1")
    check("reporting mta", blocks[0]["Reporting-MTA"], "dns; mail.example.com")
    check("original recipient", blocks[1]["Original-Recipient"], "rfc822; bob@example.net")
    check("status", blocks[1]["Status"], "5.1.1")
    check("returned", parts[2].get_content_type(), "text/rfc822-headers")

    two = sample(program, "two")
    check("flufl, two failed", flufl(two), ([], [b"bob@example.net", b"carol@example.org"]))
    check("BounceParser, two failed", bounce_parser(two),
          ["bounce", "bob@example.net user_unknown 550", "carol@example.org over_quota 552"])
    parts = statuses(two)
    check("returned whole", parts[2].get_payload()[0].get_content(), "How about noon?\r\n")

    mixed = sample(program, "mixed")
    check("flufl, mixed", flufl(mixed), ([b"dave@example.net"], [b"bob@example.net"]))
    check("actions", [b["Action"] for b in statuses(mixed)[1].get_payload()[1:]], ["failed", "delayed", "delivered"])

    late = sample(program, "delayed")
    check("flufl, delayed", flufl(late), ([b"dave@example.net"], []))
    statuses(late)

    good = sample(program, "delivered")
    check("flufl, delivered", flufl(good), ([], []))
    statuses(good)

    parts = statuses(sample(program, "utf8"), "global-delivery-status")
    fields = parts[1].get_payload()
    fields = fields if isinstance(fields, str) else str(parts[1])
    check("text in UTF-8", "jürgen@example.net" in parts[0].get_content(), True)
    print("ok")


main()
