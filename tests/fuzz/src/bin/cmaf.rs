//! Frames of any codec, times and sizes as fragmented MP4: no panic, and
//! boxes whose sizes add up.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use porthole::cmaf::{Run, Sample, carries, fragment, init, parameter_sets, sample_data};
use porthole::media::{Aac, Avc, ClockRate, Codec, G711Law, Hevc, Jpeg, PixelSize, Track, TrackId};

/// Takes the front of the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (front, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut out = [0; N];
        out[..front.len()].copy_from_slice(front);
        out
    }

    fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn set(&mut self) -> Bytes {
        let length = usize::from(self.byte()).min(self.0.len());
        let (set, rest) = self.0.split_at(length);
        self.0 = rest;
        Bytes::copy_from_slice(set)
    }

    fn codec(&mut self) -> Codec {
        let channels = self.byte();
        let size = PixelSize { width: self.u32(), height: self.u32() };
        match self.byte() % 8 {
            // As outputs may meet it: what was read …
            0 => match Avc::new(self.set(), vec![self.set()]) {
                Ok(avc) => Codec::H264(avc),
                Err(_) => Codec::Jpeg(Jpeg { size }),
            },
            1 => match Hevc::new(self.set(), self.set(), vec![self.set(), self.set()]) {
                Ok(hevc) => Codec::H265(hevc),
                Err(_) => Codec::Jpeg(Jpeg { size }),
            },
            // … and what nobody has read.
            2 => Codec::H264(Avc {
                sps: self.set(),
                pps: vec![self.set(); usize::from(channels) * 2],
                size,
                max_num_reorder_frames: None,
            }),
            3 => Codec::Aac(Aac {
                config: self.set(),
                object_type: self.byte(),
                sample_rate: self.u32(),
                channels,
            }),
            4 => Codec::G711 { law: G711Law::A, channels },
            5 => Codec::G711 { law: G711Law::Mu, channels },
            6 => Codec::L16 { channels },
            _ => Codec::Opus { channels },
        }
    }
}

/// Whether the boxes of `data` fill it.
fn boxes_add_up(mut data: &[u8]) -> bool {
    while let Some((length, _)) = data.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length < 8 || length > data.len() {
            return false;
        }
        data = &data[length..];
    }
    data.is_empty()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut tracks = Vec::new();
    for id in 0..1 + input.byte() % 3 {
        let Some(rate) = ClockRate::new(input.u32()) else { return };
        tracks.push(Track { id: TrackId(id), rate, codec: input.codec() });
    }
    tracks.retain(|track| carries(&track.codec));
    assert!(boxes_add_up(&init(&tracks.iter().collect::<Vec<_>>())));

    let mut position = u64::from(input.u32()) << (input.byte() & 31);
    while !input.0.is_empty() && !tracks.is_empty() {
        let mut samples = Vec::new();
        let track = &tracks[usize::from(input.byte()) % tracks.len()];
        for _ in 0..input.byte() % 8 {
            let sample = Sample {
                duration: input.u32(),
                composition: input.u32() as i32,
                sync: input.byte() & 1 == 1,
                data: sample_data(track, position, &input.set()),
            };
            position = position.wrapping_add(sample.duration.into());
            samples.push(sample);
        }
        let sets = if input.byte() & 1 == 1 { parameter_sets(track) } else { Bytes::new() };
        let number = u32::from(track.id.0) + 1;
        let run = Run { track: number, base: position, samples: &samples, sets: &sets };
        let empty = Run { samples: &[], ..run.clone() };
        assert!(boxes_add_up(&fragment(input.u32(), &[run, empty])));
    }
});
