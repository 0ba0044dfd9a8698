"""A whole network of its own: name servers, a web server, mail servers, and one program that is run in it.

Called under `unshare --mount --net` as domain.py PLAN COMMAND..., PLAN being JSON:
  hosts   names that have the address 127.0.0.1; nobody else exists
  srv     {"_submissions._tcp.example.test": [[priority, weight, port, target], ...]}
  mx      {"example.test": [[preference, host], ...]}
  web     {"host/path": text}; everything else is not found
  smtp    ports where mail servers speak TLS from the first byte; they take the password "sesame"
  log     a file that gets a line for every login
  typed   [[question, answer], ...]: the program sits at a terminal, and somebody answers
  chain, key   files of the certificate of all of them
"""
import base64, fcntl, http.server, json, os, pty, socket, ssl, struct, subprocess, sys, threading

plan = json.load(open(sys.argv[1]))


def start_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14s", b"lo", 0, b"")
        _, flags = struct.unpack("16sh", fcntl.ioctl(control, 0x8913, request)[:18])
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14s", b"lo", flags | 1, b""))


def labels(name):
    parts = [part for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part.encode() for part in parts) + b"\0"


def records(name, kind):
    if kind == 1 and name in plan.get("hosts", []):
        return [socket.inet_aton("127.0.0.1")]
    if kind == 15:
        return [struct.pack(">H", preference) + labels(host) for preference, host in plan.get("mx", {}).get(name, [])]
    if kind == 33:
        found = plan.get("srv", {}).get(name, [])
        return [struct.pack(">HHH", *numbers) + labels(target) for *numbers, target in found]
    return []


def serve_names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(1500)
        at, name = 12, []
        while query[at]:
            name.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
        name = ".".join(name).lower()
        found = records(name, kind)
        is_there = found or name in plan.get("hosts", [])
        reply = query[:2] + struct.pack(">HHHHH", 0x8180 if is_there else 0x8183, 1, len(found), 0, 0)
        reply += query[12 : at + 5]
        for data in found:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        server.sendto(reply, client)


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        place = self.headers["Host"] + self.path.split("?")[0]
        text = plan.get("web", {}).get(place)
        body = (text or "<html>nothing</html>").encode()
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/xml" if text else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_mail(port, tls):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        try:
            with tls.wrap_socket(connection, server_side=True) as stream:
                talk(stream.makefile("rwb"))
        except (OSError, ValueError):
            pass


def talk(lines):
    def say(text):
        lines.write(text.encode() + b"\r\n")
        lines.flush()

    say("220 mx.example.test")
    for line in lines:
        words = line.decode().split()
        if words[0] == "EHLO":
            say("250-mx.example.test\r\n250 AUTH PLAIN")
        elif words[0] == "AUTH":
            with open(plan.get("log", os.devnull), "a") as log:
                log.write("AUTH\n")
            password = base64.b64decode(words[2]).split(b"\0")[2]
            say("235 welcome" if password == b"sesame" else "535 5.7.8 wrong")
        else:
            say("221 bye")
            return


start_loopback()
with open(sys.argv[1] + ".resolv", "w") as conf:
    conf.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
subprocess.run(["mount", "--bind", conf.name, "/etc/resolv.conf"], check=True)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(plan["chain"], plan["key"])
web = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Web)
web.socket = tls.wrap_socket(web.socket, server_side=True)
for serve, arguments in [(serve_names, ()), (web.serve_forever, ())] + [(serve_mail, (p, tls)) for p in plan.get("smtp", [])]:
    threading.Thread(target=serve, args=arguments, daemon=True).start()
for port in plan.get("smtp", []):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            pass


def run_at_terminal(command, typed):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    shown, seen = b"", 0
    while True:
        try:
            octets = os.read(terminal, 1000)
        except OSError:
            break
        if not octets:
            break
        shown += octets
        if typed and typed[0][0].encode() in shown[seen:]:
            seen = len(shown)
            os.write(terminal, typed.pop(0)[1].encode() + b"\n")
    os.write(1, shown)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if "typed" in plan:
    os._exit(run_at_terminal(sys.argv[2:], plan["typed"]))
os._exit(subprocess.run(sys.argv[2:]).returncode)
