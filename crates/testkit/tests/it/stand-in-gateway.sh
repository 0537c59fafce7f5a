#!/bin/sh
# Stands in for the gateway in the tests of the conformance client: see driver.rs.
[ "$1 $2" = "serve --config" ] || { echo "called with $*" >&2; exit 2; }
[ -z "$MCP_ULTRA_BIN" ] || { echo "MCP_ULTRA_BIN is set" >&2; exit 2; }
grep -q '"prefix":"none"' "$3" || { echo "names are not those of the upstream" >&2; exit 2; }
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$3")
echo "starting"
echo "{\"listening\":\"$url\"}"
exec sleep 60
