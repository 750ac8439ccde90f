#!/bin/sh
# Fetches the pinned posthog-js release and unpacks the scripts that pages load from /static into dist/, gzipped.
#
# The release is named in `version`; `integrity` is the digest the npm registry publishes for it. A package that does
# not match is refused, so the binary embeds the bytes that were reviewed or none at all.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$here/version")
expected=$(cat "$here/integrity")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts='
  array array.no-external array.full array.full.es5 array.full.no-external
  lazy-recorder posthog-recorder recorder recorder-v2
  loader loader-bootstrap external-scripts-loader
  exception-autocapture dead-clicks-autocapture tracing-headers logs element-inference
  web-vitals web-vitals-soft-navs web-vitals-with-attribution web-vitals-with-attribution-soft-navs
  surveys surveys-preview product-tours product-tours-preview conversations
  crisp-chat-integration intercom-integration
'

(cd "$work" && npm pack --silent "posthog-js@$version" >/dev/null)
package="$work/posthog-js-$version.tgz"
found="sha512-$(openssl dgst -sha512 -binary "$package" | openssl base64 -A)"
if [ "$found" != "$expected" ]; then
  echo "posthog-js $version has integrity $found, expected $expected" >&2
  exit 1
fi

tar -xzf "$package" -C "$work"
rm -f "$here"/dist/*.js.gz
for script in $scripts; do
  # -n leaves out name and time, so that the same release always gives the same bytes.
  gzip -9 -n -c "$work/package/dist/$script.js" >"$here/dist/$script.js.gz"
done
cp "$work/package/LICENSE" "$here/dist/LICENSE"
echo "posthog-js $version: $(ls "$here"/dist/*.js.gz | wc -l | tr -d ' ') scripts in $here/dist"
