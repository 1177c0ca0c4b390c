#!/usr/bin/env bash
# Installs a RabbitMQ for the tests with apt; nothing if there is one. The service that comes with the
# package is not started: tests start servers of their own, on free ports.
set -euo pipefail

if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; then
  exit 0
fi
command -v apt-get >/dev/null || { echo "error: no apt-get here; install rabbitmq-server 3.10 or newer" >&2; exit 1; }
as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server
