"""The way through idc-index and its s5cmd, against a bucket on this machine; only Amazon's own is out of reach."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from dbtssl.data.download.download import download, idc_fetch, make_plan
from dbtssl.data.download.series_index import shipped_index
from dbtssl.errors import DataError

idc = pytest.importorskip("idc_index.index", reason="the extra idc (idc-index) is not installed")
idc_index_data = pytest.importorskip("idc_index_data")

BUCKET = "idc-open-data-cr"


class Bucket(BaseHTTPRequestHandler):
    """What s5cmd asks of S3: list the keys below a prefix, and read a range of an object."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        bucket, _, key = url.path.lstrip("/").partition("/")
        if bucket != BUCKET:
            return self.answer(404)
        if not key:
            return self.answer(200, self.listing(parse_qs(url.query)))
        if key not in self.server.sizes:
            return self.answer(404)
        size = self.server.sizes[key]
        start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        end = min(int(end), size - 1)
        self.server.read.append(key)
        body = b"x" * (end - int(start) + 1)
        return self.answer(206, body, Content_Range=f"bytes {start}-{end}/{size}")

    def do_HEAD(self):
        self.do_GET()

    def listing(self, query):
        (prefix,) = query.get("prefix", ["-"])
        keys = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2021-01-01T00:00:00.000Z</LastModified>"
            f"<Size>{size}</Size></Contents>"
            for key, size in self.server.sizes.items()
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><Name>{BUCKET}</Name>{keys}</ListBucketResult>".encode()


@pytest.fixture
def bucket(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        server.sizes, server.read = {}, []
        monkeypatch.setattr(idc, "aws_endpoint_url", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_series_come_through_idc_index_into_their_folders(bucket, tmp_path):
    # few and small ones, whose names in the bucket are those of the real index
    smallest = sorted(shipped_index().series, key=lambda one: one.size)[:3]
    fetch = idc_fetch(smallest)
    wanted = [("SeriesInstanceUID", "in", [one.uid for one in smallest])]
    columns = ["SeriesInstanceUID", "crdc_series_uuid"]
    path = idc_index_data.IDC_INDEX_PARQUET_FILEPATH
    rows = pq.read_table(path, columns=columns, filters=wanted).to_pylist()
    keys = {uid: f"{name}/0a1b.dcm" for uid, name in (row.values() for row in rows)}
    out = tmp_path / "it's a folder"
    bucket.sizes = {keys[one.uid]: one.size for one in smallest[:2]}

    with pytest.raises(DataError, match=f"^1 of 3 volumes did not arrive .*{smallest[2].uid}"):
        download(make_plan(smallest, out), fetch)
    assert sorted(set(bucket.read)) == sorted(bucket.sizes)

    bucket.sizes[keys[smallest[2].uid]] = smallest[2].size
    bucket.read.clear()
    download(make_plan(smallest, out), fetch)
    assert set(bucket.read) == {keys[smallest[2].uid]}
    assert make_plan(smallest, out).missing == ()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.dcm"))
    assert files == sorted(
        f"breast_cancer_screening_dbt/{one.patient}/{one.study_uid}/MG_{one.uid}/0a1b.dcm"
        for one in smallest
    )
