"""Waits until a message is decided, without a webhook: python wait_for_decision.py
<message id>

Needs requests and these variables: GATEWAY_URL, AGENT_KEY (scope read). Ends with 0
when the message was approved or needed no approval, with 1 when it was not sent.
"""

import os
import sys
import time

import requests

WAITING = ("pending_scan", "pending_send_approval", "scheduled")
LONGEST_PAUSE = 60  # seconds

gateway = requests.Session()
gateway.headers["Authorization"] = f"Bearer {os.environ['AGENT_KEY']}"
pause = 1.0
while True:
    try:
        response = gateway.get(
            f"{os.environ['GATEWAY_URL']}/v1/read_email",
            params={"id": sys.argv[1]},
            timeout=30,
        )
    except requests.RequestException:
        response = None
    if response is not None and response.ok:
        message = response.json()
        if message["decision"] or message["status"] not in WAITING:
            break
    elif (
        response is not None
        and response.status_code != 429
        and response.status_code < 500
    ):
        sys.exit(response.json()["error"])
    asked = response.headers.get("Retry-After") if response is not None else None
    time.sleep(float(asked or pause))
    # People take minutes: ask less and less often.
    pause = min(pause * 1.5, LONGEST_PAUSE)

print(message["status"], message["decision"] or "", message["reason"] or "")
sys.exit(message["status"] in ("rejected", "cancelled", "send_failed"))
