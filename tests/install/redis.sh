#!/usr/bin/env bash
# The Redis that tests start, 7.0 or newer: see apt.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

install redis-server redis-server
