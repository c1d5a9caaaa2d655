//! One `moof` and its `mdat` (ISO/IEC 14496-12 §8.8): a part of a segment, or
//! a single frame for Media Source Extensions.

use bytes::Bytes;
use mp4::MoofBox;

use super::boxes::{container, leaf, put_header};

/// A frame inside a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Until the next frame is decoded, in ticks of the track's clock.
    pub duration: u32,
    /// Show time less decode time, in the same ticks.
    pub composition: i32,
    /// Whether a decoder can start here.
    pub sync: bool,
    /// As [`super::sample_data`] makes it.
    pub data: Bytes,
}

/// Frames of one track that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// MP4 track id: position in the init segment, from 1.
    pub track: u32,
    /// Decode time of the first frame, in ticks of the track's clock.
    pub base: u64,
    /// The frames; a run without any is left out.
    pub samples: &'a [Sample],
    /// What stands in front of each frame that a decoder can start at, as
    /// [`super::parameter_sets`] makes it; most need nothing.
    pub sets: &'a [u8],
}

impl<'a> Run<'a> {
    /// The frames, each behind what stands in front of it.
    fn parts(&self) -> impl Iterator<Item = (&'a [u8], &'a Sample)> + use<'a> {
        let sets = self.sets;
        self.samples.iter().map(move |sample| (if sample.sync { sets } else { &[] }, sample))
    }

    /// Bytes of each frame with what stands in front of it.
    fn sizes(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.parts().map(|(sets, sample)| sets.len() + sample.data.len())
    }
}

/// `tfhd`: offsets count from the start of this `moof` (§8.8.7).
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
const TFHD_DURATION: u32 = 0x08;
const TFHD_FLAGS: u32 = 0x20;
const TRUN_DATA_OFFSET: u32 = 0x001;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;

/// Where a `trun` keeps its data offset: behind size, type, version, flags
/// and sample count.
const OFFSET_IN_TRUN: usize = 16;

/// `sample_depends_on` = 2, "on no other" (§8.8.3.1).
const SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` = 1, `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x0101_0000;

/// Frames below this many bytes are copied next to each other: a piece of its
/// own costs 32 bytes and a turn of the loop that sends it.
const SHARED_FROM: usize = 2 << 10;

/// Writes `runs` as one fragment. `sequence` grows with every fragment.
pub fn fragment(sequence: u32, runs: &[Run<'_>]) -> Bytes {
    let mut out = head(sequence, runs, payload(runs));
    for (sets, sample) in samples(runs) {
        out.extend_from_slice(sets);
        out.extend_from_slice(&sample.data);
    }
    out.into()
}

/// The same bytes in pieces that follow each other. Frames of some size are
/// not copied: what is kept of them for later is what the bus holds already.
pub fn pieces(sequence: u32, runs: &[Run<'_>]) -> Vec<Bytes> {
    let large = |sample: &Sample| sample.data.len() >= SHARED_FROM;
    let (count, shared) = samples(runs)
        .filter(|(_, sample)| large(sample))
        .fold((0, 0), |(count, bytes), (_, sample)| (count + 1, bytes + sample.data.len()));
    let mut out = Vec::with_capacity(2 + count);
    let mut open = head(sequence, runs, payload(runs) - shared);
    // Exactly as much memory as there are bytes: these stay for a minute.
    let close = |open: Vec<u8>| Bytes::from(open.into_boxed_slice());
    for (sets, sample) in samples(runs) {
        open.extend_from_slice(sets);
        if !large(sample) {
            open.extend_from_slice(&sample.data);
            continue;
        }
        if !open.is_empty() {
            out.push(close(std::mem::take(&mut open)));
        }
        out.push(sample.data.clone());
    }
    if !open.is_empty() {
        out.push(close(open));
    }
    out
}

fn samples<'a>(runs: &'a [Run<'_>]) -> impl Iterator<Item = (&'a [u8], &'a Sample)> {
    runs.iter().flat_map(Run::parts)
}

fn payload(runs: &[Run<'_>]) -> usize {
    runs.iter().flat_map(Run::sizes).sum()
}

/// The `moof`, and the `mdat` up to its first frame; with room for so many
/// bytes more.
fn head(sequence: u32, runs: &[Run<'_>], room: usize) -> Vec<u8> {
    let filled = || runs.iter().filter(|run| !run.samples.is_empty());
    // 16 bytes a sample, and less than 100 for the headers of a run.
    let mut out =
        Vec::with_capacity(32 + 100 * filled().count() + 16 * samples(runs).count() + room);

    // Where each data offset stands, and how far into the mdat it points.
    let mut offsets = Vec::with_capacity(2);
    let mut in_mdat = 0;
    container(&mut out, b"moof", |out| {
        let mut moof = MoofBox::default();
        moof.mfhd.sequence_number = sequence;
        leaf(out, &moof.mfhd);
        for run in filled() {
            offsets.push((put_track_fragment(out, run), in_mdat));
            in_mdat += run.sizes().sum::<usize>();
        }
    });
    let first_byte = out.len() + 8;
    for (at, in_mdat) in offsets {
        let offset = i32::try_from(first_byte + in_mdat).expect("frames are capped below 2 GiB");
        out[at..at + 4].copy_from_slice(&offset.to_be_bytes());
    }
    put_header(&mut out, b"mdat", payload(runs));
    out
}

/// Writes a `traf`; returns where its data offset stands.
fn put_track_fragment(out: &mut Vec<u8>, run: &Run<'_>) -> usize {
    let samples = run.samples;
    let mut moof = MoofBox::default();
    moof.trafs.push(Default::default());
    let traf = &mut moof.trafs[0];

    let flags = |sample: &Sample| if sample.sync { SYNC } else { NON_SYNC };
    // What all samples share is said once.
    let same_duration = samples.windows(2).all(|w| w[0].duration == w[1].duration);
    let same_flags = samples.windows(2).all(|w| w[0].sync == w[1].sync);
    let composed = samples.iter().any(|sample| sample.composition != 0);

    let tfhd = &mut traf.tfhd;
    tfhd.flags = DEFAULT_BASE_IS_MOOF;
    tfhd.track_id = run.track;
    if let Some(first) = samples.first() {
        if same_duration {
            tfhd.flags |= TFHD_DURATION;
            tfhd.default_sample_duration = Some(first.duration);
        }
        if same_flags {
            tfhd.flags |= TFHD_FLAGS;
            tfhd.default_sample_flags = Some(flags(first));
        }
    }

    let tfdt = traf.tfdt.get_or_insert_default();
    tfdt.version = 1; // 64 bits
    tfdt.base_media_decode_time = run.base;

    let trun = traf.trun.get_or_insert_default();
    trun.version = 1; // signed composition offsets
    trun.flags = TRUN_DATA_OFFSET | TRUN_SIZE;
    trun.sample_count = samples.len() as u32;
    trun.data_offset = Some(0);
    trun.sample_sizes = run.sizes().map(|size| size as u32).collect();
    if !same_duration {
        trun.flags |= TRUN_DURATION;
        trun.sample_durations = samples.iter().map(|sample| sample.duration).collect();
    }
    if !same_flags {
        trun.flags |= TRUN_FLAGS;
        trun.sample_flags = samples.iter().map(flags).collect();
    }
    if composed {
        trun.flags |= TRUN_COMPOSITION;
        // `mp4` keeps signed offsets in unsigned fields.
        trun.sample_cts = samples.iter().map(|sample| sample.composition as u32).collect();
    }

    let mut offset_at = 0;
    container(out, b"traf", |out| {
        leaf(out, &traf.tfhd);
        leaf(out, traf.tfdt.as_ref().expect("set above"));
        offset_at = out.len() + OFFSET_IN_TRUN;
        leaf(out, traf.trun.as_ref().expect("set above"));
    });
    offset_at
}
