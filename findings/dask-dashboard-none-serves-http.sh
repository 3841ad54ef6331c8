#!/usr/bin/env bash
# LocalCluster(dashboard_address=None) turns the dashboard off, and leaves web servers on.
#
# distributed 2026.1.2. The address of the dashboard is what one sets to None to have no web server. The scheduler and
# every worker open one all the same: pages without the dashboard, as /health.
#
# Seen: scheduler and worker have an HTTP port, and both answer 200.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "dask==2026.1.2" "distributed==2026.1.2"
cat > look.py <<'PY'
from urllib.request import urlopen

from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        ports = {"scheduler": cluster.scheduler.http_server.port, "worker": cluster.workers[0].http_server.port}
        for name, port in ports.items():
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                print(f"{name}: /health answers {answer.status}")
                assert answer.status == 200
PY
venv/bin/python look.py
echo "web servers are there, as described"
