#!/bin/bash
# Asks the server in this container whether it and its models are ready. Needs bash only, since not every image has curl.
#   healthcheck.sh [live|ready]
# HTTP_PORT: the server's --http-port; default 8000.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/${HTTP_PORT:-8000}"
printf 'GET /v2/health/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${1:-ready}" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
