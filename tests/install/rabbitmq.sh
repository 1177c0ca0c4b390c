#!/usr/bin/env bash
# The RabbitMQ that tests start, 3.10 or newer: see apt.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

install rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
