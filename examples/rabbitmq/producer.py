#!/usr/bin/env python3
"""Asks for a mail: RABBITMQ_URL=amqp://mailsend:PASSWORD@localhost/ producer.py ADDRESS"""

import json, os, sys, time
import pika

job = {"to": sys.argv[1], "subject": "Welcome", "content": "It works.\n"}
with pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    lasting = pika.BasicProperties(delivery_mode=2, timestamp=int(time.time()))
    channel.basic_publish("", "email_queue", json.dumps(job), lasting, mandatory=True)
