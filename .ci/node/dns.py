"""The cluster's name service: A records of Services (the cluster IP, or the addresses behind a headless one), asked of the API server.

    dns.py ADDRESS SERVER PKI
"""
import json
import socket
import ssl
import struct
import sys
import threading
import urllib.error
import urllib.request

NAME_ERROR, SERVER_FAILURE = 3, 2
address, server, pki = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
context.load_cert_chain(f"{pki}/admin.crt", f"{pki}/admin.key")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def get(path):
    try:
        with opener.open(server + path, timeout=3) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def addresses(name):
    """Of a name that ends in .svc.cluster.local; none where it isn't one or leads nowhere."""
    end = ".svc.cluster.local"
    labels = name.lower().rstrip(".").removesuffix(end).split(".")
    if not name.lower().rstrip(".").endswith(end) or len(labels) not in (2, 3):
        return []
    host = labels[0] if len(labels) == 3 else None
    name, namespace = labels[-2:]
    service = get(f"/api/v1/namespaces/{namespace}/services/{name}")
    if service is None:
        return []
    ip = service["spec"].get("clusterIP", "None")
    if ip != "None":
        return [] if host else [ip]
    slices = get(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}")
    endpoints = [endpoint for one in slices["items"] for endpoint in one.get("endpoints") or []]
    ready = [endpoint for endpoint in endpoints if endpoint.get("conditions", {}).get("ready") and host in (None, endpoint.get("hostname"))]
    return [ip for endpoint in ready for ip in endpoint["addresses"]]


def answer(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    end = at + 5
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    try:
        found = addresses(".".join(labels))
        code = 0 if found else NAME_ERROR
    except OSError as error:
        print(error, flush=True)
        found, code = [], SERVER_FAILURE
    records = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 2, 4) + socket.inet_aton(ip) for ip in found if kind in (1, 255)]
    return query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0) + query[12:end] + b"".join(records)


def reply(query, sender):
    try:
        channel.sendto(answer(query), sender)
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        print("not a query:", error, flush=True)


channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
channel.bind((address, 53))
while True:
    query, sender = channel.recvfrom(4096)
    threading.Thread(target=reply, args=(query, sender), daemon=True).start()
