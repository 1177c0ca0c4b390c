#!/usr/bin/env bash
# The Kafka the tests start: its jars, from Maven's repository, into a cache folder. Does nothing
# where they are. Without java 17 or mvn it says so and ends well: the tests are then skipped. Beside
# them lies what this Java has loaded once it ran them: whoever starts with that starts in half the
# time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster
jars=$cache/kafka-4.3.1
classes=$jars/muster.jsa

without() {
  echo "no Kafka for the tests: $1" >&2
  exit 0
}

release() {
  java -version 2>&1
}

free() {
  local port
  while port=$((20000 + RANDOM % 10000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

keep_classes() {
  local folder port controller run pid
  folder=$(mktemp -d "$cache/classes.XXXXXX") port=$(free) controller=$(free)
  cat >"$folder/server.conf" <<END
process.roles=broker,controller
node.id=1
listeners=PLAIN://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$folder/data
offsets.topic.replication.factor=1
END
  run=(java -Xmx256m -XX:+UseSerialGC -cp "$jars/*")
  "${run[@]}" kafka.tools.StorageTool format -t muster-kept-classes00 -c "$folder/server.conf"
  "${run[@]}" "-XX:ArchiveClassesAtExit=$folder/classes" kafka.Kafka "$folder/server.conf" &
  pid=$!
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
  done
  kill "$pid"
  wait "$pid"
  [ ! -f "$folder/classes" ] || { mv -f "$folder/classes" "$classes" && release >"$classes.java"; }
  rm -rf "$folder"
}

complete() {
  [ -f "$jars/.complete" ] && [ -f "$classes.java" ] && [ "$(release)" = "$(cat "$classes.java")" ]
}

if complete; then
  echo "$jars"
  exit 0
fi
command -v java >/dev/null || without "java is not installed; 17 or later is needed"
[ -f "$jars/.complete" ] || command -v mvn >/dev/null || without "mvn is not installed"
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
complete || keep_classes >"$cache/classes.log" 2>&1 || true
echo "$jars"
