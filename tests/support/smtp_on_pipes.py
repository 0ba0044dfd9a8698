"""Sends a mail by Python's smtplib to a program that speaks SMTP on its standard input and output:
smtp_on_pipes.py SENDER RECIPIENT,... PROGRAM [WORD]..., the mail on standard input. Each recipient gets a mail of their own,
all in one session."""

import smtplib
import subprocess
import sys


class Pipes:
    """What smtplib wants of a socket."""

    def __init__(self, words):
        self.program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def makefile(self, _mode):
        return self.program.stdout

    def sendall(self, octets):
        self.program.stdin.write(octets)
        self.program.stdin.flush()

    def close(self):
        self.program.stdin.close()


class Session(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        self.pipes = Pipes(words)
        return self.pipes


sender, recipients, *words = sys.argv[1:]
mail = sys.stdin.buffer.read()
session = Session("pipes", local_hostname="localhost")
for recipient in recipients.split(","):
    session.sendmail(sender, [recipient], mail, mail_options=["BODY=8BITMIME"])
session.quit()
sys.exit(session.pipes.program.wait(20))
