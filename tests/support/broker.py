"""Does with a RabbitMQ what other programs do, by pika: broker.py PORT ca.pem|-, the orders as lines of JSON on standard
input, one line of JSON as the answer to each.

{"do": "declare", "queue": Q, "arguments": {...}}    a durable queue
{"do": "publish", "queue": Q, "messages": [{"body": BASE64, "properties": {...}}]}    to the default exchange, confirmed
{"do": "drain", "queue": Q}    all that is ready, acknowledged: [{"body": BASE64, "headers", "message_id", ...}]
{"do": "counts", "queue": Q}   {"ready", "consumers"}, or null if there is no such queue
{"do": "delete", "queue": Q}   what was ready in it
"""

import base64
import json
import os
import ssl
import sys

import pika
from pika.exceptions import ChannelClosedByBroker

PORT, AUTHORITY = int(sys.argv[1]), sys.argv[2]


def connect():
    tls = None
    if AUTHORITY != "-":
        tls = pika.SSLOptions(ssl.create_default_context(cafile=AUTHORITY), "localhost")
    login = pika.PlainCredentials("mailsend", os.environ["BROKER_PASSWORD"])
    return pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", PORT, credentials=login, ssl_options=tls)
    )


def publish(channel, queue, messages):
    channel.confirm_delivery()
    for message in messages:
        properties = pika.BasicProperties(**message["properties"])
        # Without a queue or a confirmation this raises.
        channel.basic_publish("", queue, base64.b64decode(message["body"]), properties, mandatory=True)
    return len(messages)


def plain(value):
    """Tables of AMQP hold what JSON has no word for."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.timestamp() if hasattr(value, "timestamp") else str(value)


def drain(channel, queue):
    taken = []
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return taken
        found = {name: value for name, value in vars(properties).items() if value is not None}
        found["headers"] = found.get("headers") or {}
        found["redelivered"] = method.redelivered
        found["body"] = base64.b64encode(body).decode()
        taken.append(found)
        channel.basic_ack(method.delivery_tag)


def counts(channel, queue):
    try:
        found = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return None
        raise
    return {"ready": found.message_count, "consumers": found.consumer_count}


def obey(channel, order):
    queue = order["queue"]
    match order["do"]:
        case "declare":
            channel.queue_declare(queue, durable=True, arguments=order["arguments"])
            return True
        case "publish":
            return publish(channel, queue, order["messages"])
        case "drain":
            return drain(channel, queue)
        case "counts":
            return counts(channel, queue)
        case "delete":
            return channel.queue_delete(queue).method.message_count
        case other:
            raise ValueError(other)


connection = connect()
for line in sys.stdin:
    channel = connection.channel()
    print(json.dumps(obey(channel, json.loads(line)), default=plain), flush=True)
    if channel.is_open:
        channel.close()
connection.close()
