# For the scripts beside it: installs the Debian package $1 for whoever may, which must bring the
# program $2 (a name or a path). Where it cannot, it says why and ends well: the tests are then
# skipped, or fail where MUSTER_REQUIRE names the server. The service that the package brings is not
# started: tests start servers of their own, on free ports.
found() { [ -x "$1" ] || command -v "$1" >/dev/null 2>&1; }

install() {
  if found "$2"; then
    return
  fi
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "no $1 for the tests: there is no apt-get here; install it yourself" >&2
    return
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "no $1 for the tests: installing it needs root: sudo bash $0" >&2
    return
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 &&
    without_service apt-get install -y -qq --no-install-recommends "$1" >&2 ||
    echo "no $1 for the tests: apt-get could not install it" >&2
}

# Debian asks this file whether a service may be started.
without_service() {
  local policy=/usr/sbin/policy-rc.d ended=0
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  "$@" || ended=$?
  rm -f "$policy"
  return "$ended"
}
