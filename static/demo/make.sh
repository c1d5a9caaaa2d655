#!/bin/bash
# Makes the clip that `porthole demo` loops: camera.h264 (Annex B, constrained
# baseline, 1280x720, 25 fps, a key frame every 2 s, 250 frames) and
# camera.alaw (G.711 A-law, mono, 8 kHz, 10 s).
#
# Every motion and every note has a whole number of periods in 10 s, so the
# loop has no seam. The 16 blocks at the top left are the frame number, 0 to
# 249, in binary, white for 1, highest bit first, 16 x 16 pixels each: tests
# read them back from a canvas.
#
# Needs ffmpeg with libx264 and the DejaVu fonts. Takes about two minutes.
set -euo pipefail
cd "$(dirname "$0")"

# Dusk over the sea, on a canvas of 320 x 180 units; T in seconds.
x="(X/4)" y="(Y/4)"
w() { echo "($1+$2*sin(2*PI*($x/$3+T*$4/10)))"; } # height, swell, length, speed
far=$(w 108 2 64 1) middle=$(w 122 3.5 107 -2) near=$(w 142 5 160 3)
glint="($y/180)*26*pow(max(0,sin($x/3.1+sin($y/1.3)*3+2*PI*T*4/10)),6)*exp(-pow(($x-226)/(6+($y-104)/2.2),2))"
glow="exp(-hypot($x-226,$y-96)/34)"
sun="lt(hypot($x-226,$y-96),15)"
layer() { # sky, sun, far, middle, near, as one colour's values
  echo "min(255,if(gt($y,$near),$5-($y-$near)*0.35,if(gt($y,$middle),$4+$glint,if(gt($y,$far),$3+$glint*2,if($sun,$2,$1+$6*$glow)))))"
}
red=$(layer   "38+$y*1.55"  255 92 40 16 90)
green=$(layer "44+$y*0.72"  214 86 66 38 70)
blue=$(layer  "92+$y*0.10"  150 128 108 72 10)

# A boat, drawn once, that sails across once per loop, and rocks.
boat="color=black@0:s=96x104:r=25:d=10,format=rgba,geq=\
r='if(gt(Y,78),120,if(lt(X,50),250,232))':g='if(gt(Y,78),46,if(lt(X,50),244,120))':b='if(gt(Y,78),40,if(lt(X,50),232,84))':\
a='255*max(between(Y,80,98)*between(X,6+(Y-80)*0.8,90-(Y-80)*0.8),max(between(X,49,51)*between(Y,2,80),\
max(between(X,53,53+(Y-6)*0.48)*between(Y,8,74),between(X,47-(Y-14)*0.62,47)*between(Y,16,74))))'"

bits=
for bit in $(seq 0 15); do
  bits+=",drawbox=x=$((bit * 16)):y=0:w=16:h=16:t=fill:color=white:enable='gte(mod(n,$((65536 >> bit))),$((32768 >> bit)))'"
done
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
sans=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
text="drawtext=fontfile=$mono:fontsize=52:fontcolor=white:shadowcolor=black@0.5:shadowx=2:shadowy=2:x=40:y=618:\
text='%{eif\:n/25\:d\:2}.%{eif\:mod(n\,25)*4\:d\:2}',\
drawtext=fontfile=$sans:fontsize=24:fontcolor=white@0.85:x=42:y=676:text='Porthole demo camera   frame %{eif\:n\:d\:3}'"

ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "nullsrc=s=1280x720:r=25:d=10,format=gbrp,geq=r='$red':g='$green':b='$blue',format=yuv420p" \
  -f lavfi -i "$boat,pad=140:140:22:18:color=black@0,rotate=a='0.07*sin(2*PI*t*4/10)':c=none" \
  -filter_complex "[0][1]overlay=x='-150+1440*t/10':y='372+10*sin(2*PI*t*3/10+1)':format=auto,$text,\
drawbox=x=0:y=0:w=256:h=16:t=fill:color=black$bits,format=yuv420p" \
  -frames:v 250 -c:v libx264 -preset veryslow -profile:v baseline -level 3.1 -crf 24 -maxrate 700k -bufsize 700k \
  -x264-params "keyint=50:min-keyint=50:scenecut=0:bframes=0:repeat-headers=1:aud=0:slices=1:colorprim=bt709:transfer=bt709:colormatrix=bt709" \
  -bsf:v "filter_units=remove_types=6" -threads 1 -f h264 camera.h264

# A soft bell each second on a pentatonic scale; it has died away before the
# next, so the loop's end meets its beginning in silence.
tone="(sin(2*PI*F*t)+0.35*sin(4*PI*F*t)*exp(-3*mod(t,1))+0.15*sin(6*PI*F*t)*exp(-6*mod(t,1)))"
step="(7*mod(floor(t)*3,5)+0*t)"
note="262*pow(2,(mod($step,12)+gte(mod($step,12),11)*1)/12)"
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "aevalsrc='0.16*min(1,mod(t,1)*60)*exp(-4.5*mod(t,1))*min(1,(1-mod(t,1))*40)*${tone//F/($note)}':s=8000:d=10" \
  -c:a pcm_alaw -f alaw camera.alaw
ls -l camera.h264 camera.alaw
