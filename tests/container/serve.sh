#!/bin/sh
# Runs inside the container: becomes the server and reports its process id to the test harness.
set -eu

for variable in $(env | sed -n 's/^TEST_\([A-Z_]*\)=.*/\1/p'); do
    eval "value=\$TEST_$variable"
    if [ "$variable" = LD_LIBRARY_PATH ]; then
        value=$value${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    fi
    export "$variable=$value"
    unset "TEST_$variable"
done

server=$(command -v tritonserver || echo /opt/tritonserver/bin/tritonserver)
[ -x "$server" ] || {
    echo "This image has no tritonserver: neither on its PATH nor as $server" >&2
    exit 127
}
if [ -n "${SERVER_FOLDER:-}" ]; then
    # The container shares the machine's process ids, and exec keeps this one.
    echo $$ >"$SERVER_FOLDER/server.pid.new"
    mv "$SERVER_FOLDER/server.pid.new" "$SERVER_FOLDER/server.pid"
    # Directly into the file: through the engine, lines would arrive late.
    exec "$server" "$@" >>"$SERVER_LOG" 2>&1
fi
exec "$server" "$@"
