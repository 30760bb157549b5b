"""Uploads a file with tuspy as an app would: `… ENDPOINT TOKEN FILE METADATA`, prints what it was told."""

import json
import sys
from typing import Any

from tusclient.client import TusClient

endpoint, token, path, metadata = sys.argv[1:]
client = TusClient(endpoint, headers={"Authorization": f"Bearer {token}"})
uploader = client.uploader(
    path, chunk_size=1024 * 1024, metadata=json.loads(metadata), retries=10, retry_delay=0, upload_checksum=True
)
uploader.upload()
request: Any = uploader.request
print(json.dumps({"id": request.response_headers["fieldpost-attachment-id"]}))
