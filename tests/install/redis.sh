#!/bin/sh
# Installs the Redis server that tests start themselves. Does nothing where there is one; where it
# cannot, it says why and leaves the tests to skip.
set -eu

if command -v redis-server >/dev/null 2>&1; then
  redis-server --version
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "redis-server is not on PATH and there is no apt-get: install Redis 7.0 or newer yourself"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "redis-server is not on PATH; installing it needs root: sudo sh tests/install/redis.sh"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The package would start a service of its own on the default port.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.muster
chmod +x /usr/sbin/policy-rc.d.muster
if [ ! -e /usr/sbin/policy-rc.d ]; then
  mv /usr/sbin/policy-rc.d.muster /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
else
  rm -f /usr/sbin/policy-rc.d.muster
fi
apt-get install -y -qq --no-install-recommends redis-server
redis-server --version
