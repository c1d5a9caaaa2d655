//! From what a camera sent to a JPEG of the width asked for, each made once.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use prometheus::core::Collector;
use tokio::sync::Semaphore;
use tracing::error;

use super::once::Once;
use super::plane::Picture;
use super::stills::Stills;
use super::{FetchStill, Metrics, decode, jpeg, metrics};
use crate::bus::Stream;
use crate::fault::{Code, Fault};
use crate::media::{Avc, Codec, Frame, StreamName, WallTime};

/// Widths there are: whatever is asked for is rounded up to one of them, so
/// that nobody makes us scale a picture in a thousand widths.
const WIDTHS: [u16; 11] = [160, 240, 320, 480, 640, 800, 960, 1280, 1600, 1920, 2560];
/// Most bytes of decoded pictures, kept for a second width; one of 1080p has
/// 3 MB.
const DECODED_BYTES: usize = 32 << 20;
/// Most bytes of JPEGs kept; one of 1080p has some 300 kB.
const JPEG_BYTES: usize = 32 << 20;

/// Where a stream's pictures come from.
#[derive(Clone)]
pub struct Source {
    /// The camera's own still; without one, key frames are decoded.
    pub still: Option<FetchStill>,
    /// Whether anything may be decoded at all.
    pub decode: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self { still: None, decode: true }
    }
}

/// Pictures of all streams.
pub struct Pictures {
    sources: ArcSwap<BTreeMap<StreamName, Source>>,
    decoded: Arc<Decoded>,
    files: Arc<Files>,
    pub(super) stills: Stills,
    workshop: Arc<Workshop>,
}

/// Pictures before they are scaled.
type Decoded = Once<Key, Result<Arc<Picture>, String>>;
/// JPEGs in each of their widths.
type Files = Once<(Key, Option<Width>), Result<Bytes, String>>;

/// Where pictures are decoded and encoded: on threads that may block, a few at
/// a time, so that the frames of others do not wait.
struct Workshop {
    places: Semaphore,
    metrics: Metrics,
}

/// A width that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Width(u16);

impl Width {
    /// Widest that may be asked for.
    pub(super) const MOST: u16 = 8_192;

    /// The next width there is; `Ok(None)`: wider than all, so the picture's
    /// own.
    ///
    /// # Errors
    ///
    /// Nothing, or above [`Width::MOST`].
    pub(super) fn at_least(asked: u16) -> Result<Option<Self>, ()> {
        if !(1..=Self::MOST).contains(&asked) {
            return Err(());
        }
        Ok(WIDTHS.into_iter().find(|width| *width >= asked).map(Self))
    }

    pub(super) fn samples(self) -> u16 {
        self.0
    }
}

/// A picture as its camera sent it.
#[derive(Clone)]
pub(super) struct Original {
    pub(super) key: Key,
    /// Rises with every picture of the key.
    pub(super) version: u64,
    pub(super) coded: Coded,
    /// When the camera took it.
    pub(super) wall: WallTime,
    /// When it was here.
    pub(super) arrived: Instant,
}

/// What a row of pictures is of: a stream's frames, or the stills of its camera.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) stream: StreamName,
    /// Frames are numbered anew by another stream of that name; 0 for stills.
    pub(super) instance: u64,
    pub(super) still: bool,
}

#[derive(Clone)]
pub(super) enum Coded {
    H264(Avc, Bytes),
    Jpeg(Bytes),
}

impl Original {
    /// `None` for a codec that no picture can be made of.
    pub(super) fn of(stream: &Stream, frame: &Frame) -> Option<Self> {
        let coded = match &frame.track()?.codec {
            Codec::H264(avc) => Coded::H264(avc.clone(), frame.data.clone()),
            Codec::Jpeg(_) => Coded::Jpeg(frame.data.clone()),
            _ => return None,
        };
        let (name, instance) = (stream.name().clone(), stream.instance());
        let key = Key { stream: name, instance, still: false };
        let Frame { sequence: version, draft } = frame;
        Some(Self { key, version: *version, coded, wall: draft.wall, arrived: draft.arrived })
    }
}

impl Pictures {
    /// No streams yet.
    pub fn new(metrics: Metrics) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let places = Semaphore::new((cores / 2).max(1));
        Arc::new(Self {
            sources: ArcSwap::default(),
            decoded: Once::new(DECODED_BYTES),
            files: Once::new(JPEG_BYTES),
            stills: Stills::new(JPEG_BYTES),
            workshop: Arc::new(Workshop { places, metrics }),
        })
    }

    /// Says where the pictures of `stream` come from; one that is not attached
    /// has its key frames decoded.
    pub fn attach(&self, stream: &StreamName, source: Source) {
        self.sources.rcu(|sources| {
            let mut sources = BTreeMap::clone(sources);
            sources.insert(stream.clone(), source.clone());
            sources
        });
    }

    /// Forgets where they come from, and the login of who has them.
    pub fn detach(&self, stream: &StreamName) {
        self.sources.rcu(|sources| {
            let mut sources = BTreeMap::clone(sources);
            sources.remove(stream);
            sources
        });
    }

    /// Families about the bytes held; to be registered by whoever owns the
    /// registry, like those of the bus.
    ///
    /// # Errors
    ///
    /// None in practice: the names are constants.
    pub fn collector(self: &Arc<Self>) -> prometheus::Result<impl Collector + use<>> {
        metrics::BufferCollector::new(Arc::clone(self))
    }

    pub(super) fn source(&self, stream: &StreamName) -> Source {
        self.sources.load().get(stream).cloned().unwrap_or_default()
    }

    /// Bytes held, and the most there may be.
    pub(super) fn buffer_bytes(&self) -> (usize, usize) {
        let all = [self.decoded.bytes(), self.files.bytes(), self.stills.bytes()];
        all.into_iter().fold((0, 0), |(held, most), (more, limit)| (held + more, most + limit))
    }

    /// The picture as a JPEG file, at most so wide; the camera's own bytes
    /// where it sends JPEG and no width is asked for.
    ///
    /// # Errors
    ///
    /// `codec.video_unplayable`, and why.
    pub(super) async fn file(
        &self,
        original: &Original,
        width: Option<Width>,
    ) -> Result<Bytes, Fault> {
        if let (Coded::Jpeg(file), None) = (&original.coded, width) {
            return Ok(file.clone());
        }
        if !self.source(&original.key.stream).decode {
            return Err(no_picture("`snapshot: off` in the configuration keeps it undecoded"));
        }
        let key = (original.key.clone(), width);
        let weigh = |file: &Result<Bytes, String>| file.as_ref().map_or(1, Bytes::len);
        let work = || {
            let (decoded, workshop) = (Arc::clone(&self.decoded), Arc::clone(&self.workshop));
            let original = original.clone();
            async move {
                let picture = workshop.decoded(&decoded, original).await?;
                let scale = move || {
                    let (across, down) = picture.size_within(width.map(Width::samples));
                    jpeg::encode(&picture.scaled(across, down))
                };
                workshop.work(scale).await
            }
        };
        let file = self.files.get(key, original.version, weigh, work).await;
        file.unwrap_or_else(|| Err(PANICKED.into())).map_err(|why| no_picture(&why))
    }
}

const PANICKED: &str = "the picture broke the decoder; please report it";

/// Why there is no JPEG of a camera's video.
pub(super) fn no_picture(why: &str) -> Fault {
    let way_out = "give the stream a `snapshot_url`, the camera's own still";
    Fault::new(Code::VideoUnplayable, format!("no JPEG can be made of it: {why}; {way_out}"))
}

impl Workshop {
    /// The decoded picture, decoded once for all widths.
    async fn decoded(
        self: &Arc<Self>,
        decoded: &Arc<Decoded>,
        original: Original,
    ) -> Result<Arc<Picture>, String> {
        let weigh = |picture: &Result<Arc<Picture>, String>| {
            picture.as_ref().map_or(1, |picture| picture.bytes())
        };
        let this = Arc::clone(self);
        let (key, version) = (original.key.clone(), original.version);
        let work = || async move {
            let metrics = this.metrics.clone();
            let decode = move || {
                let _timer = metrics.decoding.start_timer();
                match &original.coded {
                    Coded::H264(avc, data) => decode::key_frame(avc, data),
                    Coded::Jpeg(file) => jpeg::decode(file),
                }
            };
            this.work(decode).await.map(Arc::new)
        };
        let picture = decoded.get(key, version, weigh, work).await;
        picture.unwrap_or_else(|| Err(PANICKED.into()))
    }

    /// Does what blocks, when there is a place for it.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let _place = self.places.acquire().await.map_err(|_| "stopping")?;
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            error!("a picture broke its decoder");
            Err(PANICKED.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_rounded_up_to_a_few() {
        let width = |asked| Width::at_least(asked).map(|width| width.map(Width::samples));
        assert_eq!(width(1), Ok(Some(160)));
        assert_eq!(width(640), Ok(Some(640)));
        assert_eq!(width(641), Ok(Some(800)));
        assert_eq!(width(2_561), Ok(None));
        assert_eq!(width(8_192), Ok(None));
        assert!(width(0).is_err() && width(8_193).is_err());
    }
}
