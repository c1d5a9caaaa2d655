# To be sourced: `start_demo [PORTHOLE]` starts `porthole demo` on free ports of
# loopback, waits until its camera is live, and sets `pages` to the page's URL
# and `origin` to one whose pages may read its answers. It ends with the script.
# With `webrtc_listen` set its media is elsewhere.
start_demo() {
  local program=${1:-$(dirname "${BASH_SOURCE[0]}")/../target/debug/porthole} listen=127.0.0.1:0
  origin=https://viewer.example
  demo_log=$(mktemp)
  env -i PATH="$PATH" PORTHOLE__LISTEN=$listen PORTHOLE__ADMIN__LISTEN=$listen PORTHOLE__WEBRTC__LISTEN="${webrtc_listen:-$listen}" \
    PORTHOLE__RTSP__LISTEN=$listen PORTHOLE__CORS="[\"$origin\"]" \
    "$program" demo --log-format json >"$demo_log" 2>&1 &
  demo=$!
  trap 'kill "$demo" 2>/dev/null; rm -f "$demo_log"' EXIT
  for _ in $(seq 100); do
    grep -q '"message":"live"' "$demo_log" && break
    kill -0 "$demo" 2>/dev/null || break
    sleep 0.1
  done
  pages=$(sed -n 's/.*"pages":"\([^"]*\)".*/\1/p' "$demo_log" | head -1)
  [ -n "$pages" ] || { cat "$demo_log"; return 1; }
}
