# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A server of chat completions that always names the same subtask: ``answers.py PORT SENTENCE``."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Answer(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers['Content-Length']))
        content = json.dumps({'subtask': sys.argv[2]})
        body = json.dumps({'choices': [{'message': {'content': content}}]}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            # Who asked has given up.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == '__main__':
    ThreadingHTTPServer(('', int(sys.argv[1])), _Answer).serve_forever()
