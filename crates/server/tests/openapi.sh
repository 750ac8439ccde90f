#!/bin/sh
# Asks a real server everything its own description of the API allows, and much that it does not: no answer may be a
# server error, or other than described. Usage: openapi.sh SCHEMATHESIS REELCASE [SECONDS [SEED]]
set -eu

schemathesis=$1
reelcase=$2
seconds=${3:-45}
seed=${4:-1}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

secret=a-secret-for-tests
REELCASE_LOG=warn REELCASE_SECRET=$secret "$reelcase" serve --listen 127.0.0.1:0 --data "$work/data" >"$work/out" &
server=$!
until grep -q 'ready: ' "$work/out"; do
  kill -0 "$server"
  sleep 0.2
done
url=$(sed -n 's|.*ready: \(.*\)/?token=.*|\1|p' "$work/out")

# Something to be found: a recording of two events.
cat >"$work/upload" <<'UPLOAD'
[{"event":"$snapshot","properties":{"$session_id":"one","$window_id":"w","token":"phc_test","distinct_id":"d",
"$snapshot_data":[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
{"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]}}]
UPLOAD
curl --silent --show-error --fail --data-binary "@$work/upload" "$url/s/" >/dev/null

# What is changed on a condition may fail on that before anybody looks at what it says.
cat >"$work/schemathesis.toml" <<'CHECKS'
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, "5xx"]
CHECKS

# Not asked: whether all that fits the description is taken, because a cursor is only good where a page ended with it.
cd "$work"
"$schemathesis" run "$url/openapi.json" --header "Authorization: Bearer $secret" --phases examples,coverage,fuzzing \
  --seed "$seed" --max-time "$seconds" --max-examples 2000 --no-shrink --continue-on-failure --request-timeout 40 --warnings off \
  --exclude-checks positive_data_acceptance
kill -0 "$server"
