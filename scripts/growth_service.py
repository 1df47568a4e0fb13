"""A service of one's own on a database that exists, for the scripts of `scripts/growth`: started, asked over HTTP, stopped
by its process id."""

import base64
import hashlib
import http.client
import json
import os
import subprocess
import time

START_SECONDS = 60
STOP_SECONDS = 30


def master_key(database_url):
    """The key that `postback bench` finds again for the same database (src/cli/outside/throwaway.rs)."""
    digest = hashlib.sha256(b"postback demo master key|" + database_url.encode()).digest()
    return base64.b64encode(digest).decode()


def environment(database_url, data, **more):
    """The settings of a service on PostgreSQL, or with SQLite in the folder `data`."""
    settings = {
        "POSTBACK_SERVER_LISTEN": "127.0.0.1:0",
        "POSTBACK_OUTBOUND_ALLOW_RANGES": "127.0.0.0/8",
        "POSTBACK_LOG_FORMAT": "json",
        "POSTBACK_DATA_DIR": data,
        **more,
    }
    if database_url:
        settings |= {"POSTBACK_DATABASE_URL": database_url, "POSTBACK_MASTER_KEY": master_key(database_url)}
    return settings


class Client:
    """One connection with one key."""

    def __init__(self, address, key):
        self.address, self.key, self.connection = address, key, None

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of the answer."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def json(self, method, path, body=None, **headers):
        """The object that was answered; anything but 2xx ends the script."""
        status, _, text = self.ask(method, path, body, **headers)
        if not 200 <= status < 300:
            raise SystemExit(f"{method} {path} answered {status}: {text.decode(errors='replace')}")
        return json.loads(text) if text else {}


class Service:
    """`postback serve` on a database, with an admin key."""

    def __init__(self, program, settings):
        made = [program, "keys", "create", "--role", "admin", "--name", "growth"]
        self.admin_key = subprocess.run(made, env=settings, check=True, capture_output=True, text=True).stdout.strip()
        self.log = open(os.path.join(settings["POSTBACK_DATA_DIR"], "growth-service.log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([program, "serve"], env=settings, stdin=subprocess.DEVNULL, stderr=self.log)
        self.address = self._listening()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def admin(self):
        return Client(self.address, self.admin_key)

    def _listening(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.log.name, encoding="utf-8") as lines:
                for line in lines:
                    if '"listening"' in line and line.endswith("\n"):
                        host, port = json.loads(line)["address"].rsplit(":", 1)
                        return host, int(port)
            time.sleep(0.05)
        with open(self.log.name, encoding="utf-8") as lines:
            raise SystemExit(f"the service does not start:\n{lines.read()[-2000:]}")
