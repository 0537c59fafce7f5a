# Sourced by the scripts beside it: where things are kept.
#
# In CI (CI=true) every run has a fresh checkout, so what takes long to make stays outside of it, under
# the user's cache folder: the cargo target folder, and the npm and Python packages of tests/clients,
# the latter two in folders named after a hash of their lock files.

cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." || exit 1

cache="${XDG_CACHE_HOME:-$HOME/.cache}/mcp-ultra"
if [ "${CI:-}" = true ]; then
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
    # Of no use in a fresh checkout, and large.
    export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
fi
target="${CARGO_TARGET_DIR:-$PWD/target}"

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
