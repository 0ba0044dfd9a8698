"""Reads a mail with another program than ours, and prints what it finds as JSON: read_mail.py FILE"""

import hashlib
import json
import sys
from email import policy
from email.parser import BytesParser


def text(value):
    """Octets beyond ASCII in a header are UTF-8 or nothing."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def headers(message):
    return [[name, text(value)] for name, value in message.items()]


def part(leaf):
    found = {"type": leaf.get_content_type(), "disposition": leaf.get_content_disposition()}
    found["filename"] = leaf.get_filename()
    if leaf.get_content_maintype() == "message":
        # A report has groups of fields; a returned message has its own header.
        found["fields"] = [headers(group) for group in leaf.get_payload()]
        return found
    octets = leaf.get_payload(decode=True)
    found["size"] = len(octets)
    found["sha256"] = hashlib.sha256(octets).hexdigest()
    if leaf.get_content_maintype() == "text":
        found["text"] = octets.decode(leaf.get_content_charset("us-ascii"), "replace")
    return found


def leaves(message):
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        for inner in message.iter_parts():
            yield from leaves(inner)
    else:
        yield message


with open(sys.argv[1], "rb") as file:
    message = BytesParser(policy=policy.default).parse(file)
defects = [type(defect).__name__ for leaf in message.walk() for defect in leaf.defects]
json.dump({"headers": headers(message), "parts": [part(leaf) for leaf in leaves(message)], "defects": defects}, sys.stdout)
