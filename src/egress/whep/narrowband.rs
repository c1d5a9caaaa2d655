//! L16 as G.711: linear samples of any usual rate, low-pass filtered, brought
//! down to 8 kHz and companded (µ-law, which every browser has, RFC 7874 §3).
//! Once per stream, whatever the number of viewers.
//!
//! This is no transcoding of a compressed codec: samples stay samples, of
//! telephone quality.

use std::f64::consts::PI;

use bytes::Bytes;

/// What comes out, hertz.
const RATE: u32 = 8_000;

/// The filter's -6 dB point: below half of [`RATE`], with room to fall off.
const CUTOFF: f64 = 3_400.0;

/// Half the filter's length, in samples that come out: 2 ms each way.
const REACH: f64 = 16.0;

/// Filters kept at most, one for each place that an output sample can have
/// between two inputs. 44.1 kHz needs 80, 11.025 kHz 320.
const MAX_PHASES: u32 = 320;

/// What is sent at once: 20 ms.
const PACKET: usize = 160;

/// Times may differ by this from what the samples add up to, in ticks: beyond
/// 40 ms something is missing.
const TOLERANCE: i64 = 320;

/// Whether sound of that rate can be brought down.
pub(super) fn carries(rate: u32) -> bool {
    (RATE..=192_000).contains(&rate) && RATE / gcd(rate, RATE) <= MAX_PHASES
}

/// State of one track.
pub(super) struct Narrowband {
    rate: u32,
    channels: usize,
    /// A filter for each phase, all of one length.
    filters: Vec<Vec<f32>>,
    /// Input that a coming output needs, in one channel.
    input: Vec<f32>,
    /// Of the next output: by how much it lies behind the filter's middle, in
    /// parts of an input sample.
    phase: u32,
    /// Output that does not fill a packet yet, and when it is to be heard.
    output: Vec<u8>,
    start: Option<i64>,
}

impl Narrowband {
    /// For a rate that [`carries`].
    pub(super) fn new(rate: u32, channels: u8) -> Self {
        let phases = RATE / gcd(rate, RATE);
        let filters = (0..phases).map(|phase| filter(rate, f64::from(phase) / f64::from(phases)));
        let channels = usize::from(channels.max(1));
        Self {
            rate,
            channels,
            filters: filters.collect(),
            input: Vec::new(),
            phase: 0,
            output: Vec::new(),
            start: None,
        }
    }

    /// Whether it is for sound of this shape.
    pub(super) fn fits(&self, rate: u32, channels: u8) -> bool {
        self.rate == rate && self.channels == usize::from(channels.max(1))
    }

    /// Takes samples heard from `ticks` (of 8 kHz) on. Returns whole packets,
    /// one behind the other, and when they begin; nothing while none is full.
    pub(super) fn push(&mut self, ticks: i64, samples: &[u8]) -> Option<(i64, Bytes)> {
        let expected = self.start.map(|start| start + self.output.len() as i64);
        if expected.is_none_or(|expected| (ticks - expected).abs() > TOLERANCE) {
            self.output.clear();
            self.start = Some(ticks);
            self.phase = 0;
            // Silence before it, so that the first output is in its middle.
            self.input.clear();
            self.input.resize(self.filters[0].len() / 2, 0.0);
        }
        let sample = |bytes: &[u8]| f32::from(i16::from_be_bytes([bytes[0], bytes[1]]));
        for frame in samples.chunks_exact(2 * self.channels) {
            let sum: f32 = frame.chunks_exact(2).map(sample).sum();
            self.input.push(sum / self.channels as f32);
        }
        let (up, down) = (self.filters.len() as u32, self.rate / gcd(self.rate, RATE));
        let taps = self.filters[0].len();
        let mut at = 0;
        while let Some(window) = self.input.get(at..at + taps) {
            let filter = &self.filters[self.phase as usize];
            let sum: f32 = window.iter().zip(filter).map(|(sample, weight)| sample * weight).sum();
            self.output.push(mu_law(sum as i16));
            self.phase += down;
            at += (self.phase / up) as usize;
            self.phase %= up;
        }
        self.input.drain(..at.min(self.input.len()));
        let whole = self.output.len() / PACKET * PACKET;
        let start = self.start.filter(|_| whole > 0)?;
        self.start = Some(start + whole as i64);
        Some((start, self.output.drain(..whole).collect::<Vec<u8>>().into()))
    }
}

/// A windowed sinc (Blackman) around a point `late` behind its middle sample,
/// whose weights add up to 1.
fn filter(rate: u32, late: f64) -> Vec<f32> {
    let rate = f64::from(rate);
    if rate <= f64::from(RATE) {
        return vec![1.0];
    }
    let reach = (REACH * rate / f64::from(RATE)).ceil();
    let weight = |tap: usize| {
        let at = tap as f64 - reach - late;
        let angle = 2.0 * PI * CUTOFF / rate * at;
        let sinc = if at.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
        let turn = PI * at / (reach + 1.0);
        sinc * (0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
    };
    let weights: Vec<f64> = (0..=2 * reach as usize).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// ITU-T G.711, µ-law.
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = i32::from(sample).abs().min(CLIP) + BIAS;
    let exponent = (24 - (biased as u32).leading_zeros()).min(7);
    let mantissa = biased >> (exponent + 3) & 0x0f;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inverse of [`mu_law`], as ITU-T G.711 table 2a has it.
    fn linear(code: u8) -> f64 {
        let code = !code;
        let magnitude =
            ((f64::from(code & 0x0f) * 8.0 + 132.0) * f64::from(1 << (code >> 4 & 7))) - 132.0;
        if code & 0x80 == 0 { magnitude } else { -magnitude }
    }

    /// A second of a tone in packets of `packet` samples; what comes out, from
    /// when on.
    fn heard(rate: u32, channels: u8, hertz: f64, packet: usize) -> (i64, Vec<f64>) {
        let mut narrow = Narrowband::new(rate, channels);
        let tone = |n: usize| {
            let angle = 2.0 * PI * hertz * n as f64 / f64::from(rate);
            ((angle.sin() * 10_000.0) as i16).to_be_bytes().repeat(usize::from(channels))
        };
        let (mut start, mut out) = (None, Vec::new());
        let samples: Vec<usize> = (0..rate as usize).collect();
        for packet in samples.chunks(packet) {
            let ticks = 7_000 + (packet[0] as f64 * 8_000.0 / f64::from(rate)) as i64;
            let bytes: Vec<u8> = packet.iter().flat_map(|&n| tone(n)).collect();
            if let Some((at, bytes)) = narrow.push(ticks, &bytes) {
                assert_eq!(at, *start.get_or_insert(at) + out.len() as i64, "no hole");
                assert!(bytes.len().is_multiple_of(PACKET));
                out.extend(bytes.iter().map(|&code| linear(code)));
            }
        }
        (start.unwrap(), out)
    }

    fn loudness(samples: &[f64]) -> f64 {
        (samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn speech_comes_through_in_time_and_what_would_fold_back_does_not() {
        for (rate, channels, packet) in [
            (8_000, 1, 160),
            (16_000, 1, 320),
            (44_100, 2, 350),
            (48_000, 1, 960),
            (11_025, 1, 200),
        ] {
            let (start, speech) = heard(rate, channels, 1_000.0, packet);
            assert_eq!(start, 7_000, "{rate}");
            assert!(speech.len() > 7_600, "{rate}: {}", speech.len());
            let wanted = |n: usize| (2.0 * PI * 1_000.0 * n as f64 / 8_000.0).sin() * 10_000.0;
            for (n, sample) in speech.iter().enumerate().skip(100) {
                assert!((sample - wanted(n)).abs() < 700.0, "{rate} at {n}: {sample}");
            }
            if rate > 11_025 {
                let (_, folded) = heard(rate, channels, 5_500.0, packet);
                assert!(loudness(&folded[100..]) < 70.0, "{rate}: {}", loudness(&folded));
            }
        }
    }

    #[test]
    fn after_a_hole_time_goes_on_behind_it() {
        let mut narrow = Narrowband::new(16_000, 1);
        let second = vec![0; 32_000];
        let (start, first) = narrow.push(100, &second).unwrap();
        assert_eq!((start, first.len() % PACKET), (100, 0));
        let (start, _) = narrow.push(50_000, &second).unwrap();
        assert_eq!(start, 50_000);
    }

    #[test]
    fn rates_that_would_need_thousands_of_filters_are_refused() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000] {
            assert!(carries(rate), "{rate}");
        }
        for rate in [0, 4_000, 44_099, 192_001] {
            assert!(!carries(rate), "{rate}");
        }
    }
}
