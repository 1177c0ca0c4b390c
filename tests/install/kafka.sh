#!/usr/bin/env bash
# The Kafka the tests start: its jars, from Maven's repository, into a cache folder. Does nothing
# where they are. Without java 17 or mvn it says so and ends well: the tests are then skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster
jars=$cache/kafka-4.3.1

without() {
  echo "no Kafka for the tests: $1" >&2
  exit 0
}

if [ -f "$jars/.complete" ]; then
  echo "$jars"
  exit 0
fi
command -v java >/dev/null || without "java is not installed; 17 or later is needed"
command -v mvn >/dev/null || without "mvn is not installed"
version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 17 ] || without "java ${version:-of no version} is too old, 17 is needed"

mkdir -p "$cache"
exec 9>"$cache/kafka.lock"
flock 9
if [ ! -f "$jars/.complete" ]; then
  work=$(mktemp -d "$cache/kafka.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cp "$here/kafka-pom.xml" "$work/pom.xml"
  mvn -B -ntp -q -f "$work/pom.xml" -Dkafka.jars="$work/jars" package </dev/null >&2 ||
    without "mvn could not fetch it"
  touch "$work/jars/.complete"
  rm -rf "$jars"
  mv "$work/jars" "$jars"
fi
echo "$jars"
