# Make ./.venv with the interpreter named by $PYTHON, else the first one found that is new enough.
set -eu

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then
    exit 0
fi
for candidate in ${PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
        rm -rf .venv
        # some systems ship Python without ensurepip: then the system's pip puts pip into the new environment
        "$candidate" -m venv .venv >/dev/null 2>&1 || {
            rm -rf .venv
            "$candidate" -m venv --without-pip .venv
            "$candidate" -m pip --disable-pip-version-check --python .venv/bin/python install --quiet pip
        }
        exit 0
    fi
done
echo "No Python 3.11 or newer was found (tried: ${PYTHON:-python3, python, python3.11 to python3.14})." >&2
echo "Install one, or name it: make PYTHON=/path/to/python3" >&2
exit 1
