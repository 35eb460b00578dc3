"""A registry with a program under every name, except those that have a word of ABSENT: they are not found, as in a real one.

    registry.py ADDRESS PROGRAM
"""
import hashlib
import http.server
import io
import json
import os
import re
import sys
import tarfile

# As the fake kubelet has it: an image whose name or tag has one of these does not exist.
ABSENT = ("does-not-exist", "nonexistent", "no-such", ":nope", ":typo")
CONFIG, MANIFEST, LAYER = (f"application/vnd.oci.image.{kind}" for kind in ("config.v1+json", "manifest.v1+json", "layer.v1.tar"))
blobs = {}


def blob(content, kind):
    """Keeps it; what says where it is."""
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blobs[digest] = content, kind
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def image(program, entrypoint):
    """An image with one program in it and the folders that every one has; the digest of its manifest."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("app")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    layer = blob(layer.getvalue(), LAYER)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {"architecture": machine, "os": "linux", "config": {"Entrypoint": entrypoint}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    config = blob(json.dumps(config).encode(), CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    return blob(json.dumps(manifest).encode(), MANIFEST)["digest"]


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^?]+)(?:\?.*)?", self.path)
        if not asked:
            return self.answer(200, b"{}", "application/json")
        name, _, reference = asked.groups()
        digest = reference
        if not reference.startswith("sha256:") and not any(word in f"{name}:{reference}" for word in ABSENT):
            digest = images.get(name, images[None])
        if digest not in blobs:
            return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', "application/json")
        return self.answer(200, *blobs[digest], digest)

    do_HEAD = do_GET

    def answer(self, code, body, kind, digest=None):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


address, path = sys.argv[1:]
with open(path, "rb") as file:
    program = file.read()
images = {None: image(program, ["/app"]), "pause": image(program, ["/app", "pause"])}
http.server.ThreadingHTTPServer((address, 5000), Registry).serve_forever()
