//! Which of a camera's tracks are pulled, and what is said of the others.

use tokio_util::task::TaskTracker;

use super::depacketize::{AfterLoss, Depacketizer, Discarded};
use super::end::End;
use super::jumps::Jumps;
use super::rtsp::{Announced, Camera, Feed, Greeting};
use super::source::Source;
use crate::bus::Note;
use crate::fault::{Code, Fault};
use crate::media::{ClockRate, Codec, MediaKind};

/// A track we asked the camera for.
pub(super) struct Selected {
    /// Its section in the SDP.
    pub(super) section: usize,
    pub(super) kind: MediaKind,
    pub(super) rate: ClockRate,
    pub(super) depacketizer: Depacketizer,
    /// Parameters as of the newest unit.
    pub(super) codec: Option<Codec>,
    /// What the depacketizer had discarded when last counted.
    pub(super) discarded: Discarded,
    /// Packets that came out of order when last counted.
    pub(super) reordered: u64,
    /// Line time of the newest key frame, nanoseconds.
    pub(super) last_key: Option<i64>,
    /// Bytes from it on.
    pub(super) group_bytes: usize,
    pub(super) jumps: Jumps,
    /// Nothing of it is taken any more.
    pub(super) is_left_out: bool,
}

/// DESCRIBE, SETUP of what we can carry, PLAY.
pub(super) async fn connect(
    source: &Source,
    greeting: &mut Greeting,
    farewells: &TaskTracker,
) -> Result<(Feed, Vec<Selected>, Vec<Note>), End> {
    let mut camera = Camera::describe(source, greeting, farewells).await?;
    let (selected, notes) = select(camera.announced(), source.after_loss);
    if selected.is_empty() {
        return Err(nothing_to_carry(camera.announced(), &notes).into());
    }
    for track in &selected {
        camera.setup(track.section).await?;
    }
    Ok((camera.play().await?, selected, notes))
}

/// Why a camera is of no use that offers none of what we can read. Of a
/// picture among it the user learns the codec, and what to set it to.
fn nothing_to_carry(announced: &[Announced], notes: &[Note]) -> Fault {
    let is_picture = |Note(fault): &&Note| fault.code == Code::VideoUnplayable;
    if let Some(Note(picture)) = notes.iter().find(is_picture) {
        return picture.clone();
    }
    let offered: Vec<&str> = announced.iter().map(|a| a.encoding.as_str()).collect();
    let mut detail = format!("it offers only: {}", offered.join(", "));
    if let Some(Note(sound)) = notes.iter().find(|Note(fault)| fault.code == Code::AudioDropped) {
        detail = format!("{detail} ({})", sound.detail);
    }
    Fault::new(Code::SourceNoMedia, detail)
}

/// The first video and the first audio section that we can read; remarks on
/// what is left out.
fn select(announced: &[Announced], after_loss: AfterLoss) -> (Vec<Selected>, Vec<Note>) {
    let (mut selected, mut notes) = (Vec::<Selected>::new(), Vec::new());
    let mut ignored = Vec::new();
    for (section, track) in announced.iter().enumerate() {
        let Some(kind) = track.kind else {
            ignored.push(format!("{}, which nobody sees or hears", track.encoding));
            continue;
        };
        if selected.iter().any(|other| other.kind == kind) {
            ignored.push(format!("{}, which is a second {}", track.encoding, kind.as_str()));
            continue;
        }
        let fmtp = track.fmtp.as_deref();
        let depacketizer =
            Depacketizer::new(kind, &track.encoding, track.clock_rate, track.channels, fmtp);
        match (depacketizer, ClockRate::new(track.clock_rate)) {
            (Ok(depacketizer), Some(rate)) => selected.push(Selected {
                section,
                kind,
                rate,
                codec: depacketizer.codec().cloned(),
                depacketizer: depacketizer.after_loss(after_loss),
                discarded: Discarded::default(),
                reordered: 0,
                last_key: None,
                group_bytes: 0,
                jumps: Jumps::default(),
                is_left_out: false,
            }),
            (depacketizer, _) => {
                let code = match kind {
                    MediaKind::Video => Code::VideoUnplayable,
                    MediaKind::Audio => Code::AudioDropped,
                };
                let reason = depacketizer.err().map(|e| e.to_string()).unwrap_or_default();
                let detail = format!("{}: {reason}", track.encoding);
                notes.push(Note(Fault::new(code, detail)));
            }
        }
    }
    if !ignored.is_empty() {
        notes.push(Note(Fault::new(Code::TrackIgnored, ignored.join("; "))));
    }
    // Video first: output rooms show tracks in this order.
    selected.sort_by_key(|track| track.kind != MediaKind::Video);
    (selected, notes)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::rtsp::repair::Offer;
    use super::*;

    fn section(kind: Option<MediaKind>, encoding: &str) -> Announced {
        Announced {
            kind,
            payload_type: 96,
            encoding: encoding.into(),
            clock_rate: 90_000,
            channels: None,
            fmtp: None,
            control: Url::parse("rtsp://camera/track").unwrap(),
            offer: Offer::default(),
        }
    }

    #[test]
    fn what_is_left_out_of_a_camera_that_plays_is_told() {
        let audio = |encoding: &str| Announced {
            clock_rate: 8_000,
            ..section(Some(MediaKind::Audio), encoding)
        };
        let picture = Announced { payload_type: 26, ..section(Some(MediaKind::Video), "jpeg") };
        let metadata = section(None, "vnd.onvif.metadata");
        let announced = [picture.clone(), audio("pcma"), metadata, audio("pcmu")];
        let (selected, notes) = select(&announced, AfterLoss::Hold);
        let sections: Vec<usize> = selected.iter().map(|track| track.section).collect();
        assert_eq!(sections, [0, 1]);
        let [Note(note)] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!(note.code, Code::TrackIgnored);
        assert!(note.detail.contains("vnd.onvif.metadata") && note.detail.contains("pcmu"));
        assert!(select(&[picture], AfterLoss::Hold).1.is_empty());
    }

    #[test]
    fn a_camera_whose_picture_cannot_be_carried_hears_its_codec_and_the_way_out() {
        let metadata = section(None, "vnd.onvif.metadata");
        let fault_of = |announced: &[Announced]| {
            let (selected, notes) = select(announced, AfterLoss::Hold);
            assert!(selected.is_empty());
            nothing_to_carry(announced, &notes)
        };
        let other = fault_of(&[metadata.clone(), section(Some(MediaKind::Video), "mp4v-es")]);
        assert_eq!(other.code, Code::VideoUnplayable);
        assert!(other.detail.contains("mp4v-es") && other.detail.contains("set the camera to"));
        let none = fault_of(&[metadata]);
        assert_eq!(none.code, Code::SourceNoMedia);
        assert!(none.detail.contains("vnd.onvif.metadata"));
    }
}
