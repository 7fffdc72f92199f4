#!/usr/bin/env python3
"""A worker for `http` stages of Quillwork, with nothing but Python's standard library.

It summarises what `research` found: of each source its first sentence. Run it as

    QUILLWORK_SECRET=… python3 worker.py [port]

It prints the address it listens on, and one line for each request.
"""

import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPLAY_WINDOW_SECONDS = 300
MAX_BODY_BYTES = 64 * 1024 * 1024


def is_signed(secret: bytes, header: str, body: bytes, now: float) -> bool:
    """True if the request is from who knows the secret, and from now."""
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()):
        return False
    if abs(now - int(times[0])) > REPLAY_WINDOW_SECONDS:
        return False
    expected = hmac.new(secret, times[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures)


class Answers:
    """What was answered before, by idempotency key.

    A call may come again: its answer was lost, or Quillwork was killed while it waited. The work is done once.
    In production this is a table in the database that the work writes to, so that both are kept or neither.
    """

    MAX = 10_000

    def __init__(self):
        self.lock = threading.Lock()
        self.done = OrderedDict()
        self.running = set()

    def begin(self, key):
        """Returns the answer from before, or None; `Busy` if the same work is being done right now."""
        with self.lock:
            if key in self.done:
                return self.done[key]
            if key in self.running:
                raise Busy
            self.running.add(key)
            return None

    def end(self, key, answer):
        with self.lock:
            self.running.discard(key)
            if answer is not None:
                self.done[key] = answer
            while len(self.done) > self.MAX:
                self.done.popitem(last=False)


class Busy(Exception):
    pass


class Refused(Exception):
    """The work cannot be done; the class says whether it is worth trying again."""

    def __init__(self, error_class, message):
        super().__init__(message)
        self.error_class = error_class


def summarise(request):
    """The stage itself: data in, data out. What has a member `markdown` is shown as the job's article."""
    findings = next((output for output in request["outputs"] if "sources" in output), None)
    if findings is None:
        raise Refused("permanent", "no stage before this one has found sources")
    most = (request["settings"] or {}).get("max_sentences", 5)
    lines = []
    for source in findings["sources"][:most]:
        text = " ".join(" ".join(passage["text"] for passage in source["passages"]).split())
        first = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
        lines.append(f"- {first} ({source['title']})")
    if not lines:
        raise Refused("no_sources_found", "there is nothing to summarise")
    return {"title": request["topic"], "markdown": "\n".join([f"# {request['topic']}", ""] + lines) + "\n"}


class Handler(BaseHTTPRequestHandler):
    secret = b""
    answers = Answers()

    def do_POST(self):
        length = self.headers.get("Content-Length", "0")
        if int(length) > MAX_BODY_BYTES:
            return self.refuse(413, "too_large", "the request is too large")
        body = self.rfile.read(int(length))
        if not is_signed(self.secret, self.headers.get("X-Quillwork-Signature", ""), body, time.time()):
            return self.refuse(401, "permanent", "the signature is wrong or too old")
        # Headers are not signed; the body is, and names the key, too.
        request = json.loads(body)
        key = request["idempotency_key"]
        try:
            answer = self.answers.begin(key)
        except Busy:
            return self.refuse(503, "rate_limited", "this is being done already", {"Retry-After": "1"})
        if answer is not None:
            say("repeated", key)
            return self.reply(200, answer)
        try:
            answer = summarise(request)
        except Refused as refused:
            return self.refuse(422, refused.error_class, str(refused))
        finally:
            self.answers.end(key, answer)
        say("done", key)
        return self.reply(200, answer)

    def refuse(self, status, error_class, message, headers=None):
        say("refused", str(status), message)
        self.reply(status, {"error": {"class": error_class, "message": message}}, headers)

    def reply(self, status, answer, headers=None):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def say(*words):
    print(*words, flush=True)


def main():
    Handler.secret = os.environ["QUILLWORK_SECRET"].encode()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7071
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    say(f"listening on http://127.0.0.1:{server.server_port}/")
    server.serve_forever()


if __name__ == "__main__":
    main()
