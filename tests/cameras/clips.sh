#!/bin/bash
# Makes the test cameras' clips in tests/cache, once: the demo camera's ten
# seconds in the codecs that cameras send. All keep the frame number in 16
# black and white blocks at the top left, a picture's width / 80 each.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../static/demo
cache=$here/../cache
video=$demo/camera.h264
mkdir -p "$cache"
# Tests start their cameras at once; one makes the clips, the others wait.
exec 9> "$cache/lock"
flock 9

# name, ffmpeg's options for the video, and for the sound
clip() {
  local format=${format:-mov}
  local out=$cache/$1.$format
  [ -s "$out" ] && [ "$out" -nt "$0" ] && return
  echo "making $1" >&2
  # shellcheck disable=SC2086 # options are words
  ffmpeg -hide_banner -loglevel error -y -r 25 -i "$video" \
    -f alaw -ar 8000 -ac 1 -i "$demo/camera.alaw" $2 $3 -f ${format/mkv/matroska} "$cache/$1.part"
  mv "$cache/$1.part" "$out"
}

small="-vf scale=640:360 -pix_fmt yuv420p"
x264="$small -c:v libx264 -preset veryfast -crf 26 -threads 1"
aac="-ar 48000 -ac 2 -c:a aac -b:a 64k"

clip h264-pcma "-c:v copy" "-c:a copy"
clip h264-aac "$x264 -profile:v high -bf 0 -g 50 -sc_threshold 0" "$aac"
clip long-gop "$x264 -profile:v baseline -g 250 -keyint_min 250 -sc_threshold 0" "-c:a copy"
clip gop-1s "$x264 -profile:v baseline -g 25 -keyint_min 25 -sc_threshold 0" "-c:a copy"
tiny="-pix_fmt yuv420p -c:v libx264 -preset veryfast -crf 26 -threads 1 -profile:v baseline -sc_threshold 0"
quarter="-vf scale=320:180 $tiny"
clip small "$quarter -g 25 -keyint_min 25" "-an"
clip small-pcma "$quarter -g 25 -keyint_min 25" "-c:a copy"
clip gop-half "$quarter -g 13 -keyint_min 12 -force_key_frames expr:eq(mod(n,25),0)+eq(mod(n,25),12)" "-an"
clip irregular "$quarter -g 250 -force_key_frames 0,0.4,3,3.2,7.8" "-an"
clip fps-1 "-vf select=not(mod(n\\,25)),setpts=N/TB,scale=320:180 -r 1 $tiny -g 2 -keyint_min 2" "-an"
clip fps-60 "-vf setpts=N/60/TB,scale=320:180 -r 60 -t 4 $tiny -g 60 -keyint_min 60" "-an"
clip h264-opus "$quarter -g 50 -keyint_min 50" "-c:a copy"
video="concat:$video|$video|$video" clip gop-30s "$x264 -profile:v baseline -g 750 -keyint_min 750 -sc_threshold 0" "-an"
clip bframes "$x264 -profile:v high -bf 2 -b_strategy 0 -g 50 -sc_threshold 0 -flags +cgop" "$aac"
clip h265-aac "$small -c:v libx265 -preset ultrafast -crf 28 -x265-params log-level=error:keyint=50:min-keyint=50:scenecut=0:bframes=0:open-gop=0 -tag:v hvc1" "$aac"
clip mjpeg "-vf scale=640:360 -pix_fmt yuvj420p -r 25 -c:v mjpeg -huffman default -q:v 6" "-an"
# A substream: a key frame a second, and hardly a picture of two packets.
clip h264-slow "-vf select=not(mod(n\,5)),setpts=N/5/TB,scale=320:180 -r 5 -pix_fmt yuv420p -c:v libx264 -preset veryfast -crf 34 -threads 1 -profile:v baseline -g 5 -keyint_min 5 -sc_threshold 0" "-an"
# Sound of other kinds is made of this when the camera starts.
format=mkv clip vp8-opus "$small -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -g 50 -auto-alt-ref 0 -lag-in-frames 0" "-c:a copy"
format=mkv clip vp9-g722 "$small -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 50 -auto-alt-ref 0 -lag-in-frames 0" "-c:a copy"
format=mkv clip av1-l16 "$small -c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 1M -g 50 -lag-in-frames 0" "-c:a copy"
