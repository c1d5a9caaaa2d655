//! Which pictures can be decoded after loss: those whose references came.

use super::AfterLoss;
use super::references::Decoded;
use super::syntax::Slice;
use crate::media::Codec;

/// Whether what comes next can be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is missing.
    Whole,
    /// This many packets are missing since a picture that was handed out;
    /// perhaps none that matters to the next.
    Suspect(u32),
    /// Wait for a key frame.
    #[default]
    Broken,
}

/// The chain of references, picture by picture.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) after_loss: AfterLoss,
    state: State,
    /// Drop pictures that refer to before the random access we started at.
    skip_leading: bool,
    /// `frame_num` of the last reference picture.
    reference_num: Option<u32>,
    /// Where pictures name their references: those that are there.
    decoded: Decoded,
}

impl Chain {
    /// So many packets or pictures are missing.
    pub(super) fn suspect(&mut self, missing: u32) {
        self.state = match self.state {
            State::Whole => State::Suspect(missing),
            State::Suspect(before) => State::Suspect(before.saturating_add(missing)),
            State::Broken => State::Broken,
        };
    }

    /// Nothing can be decoded before the next key frame.
    pub(super) fn break_off(&mut self) {
        self.state = State::Broken;
    }

    /// Takes the next whole picture; whether it can be decoded, and is to be
    /// handed out. `old` is the codec so far, `new` the picture's own, `None`
    /// when a set is missing.
    pub(super) fn admits(
        &mut self,
        slice: &Slice,
        key: bool,
        old: Option<&Codec>,
        new: Option<&Codec>,
    ) -> bool {
        let admitted = self.follow(slice, key, old, new);
        self.decoded.step(slice.references.as_ref(), admitted);
        admitted
    }

    fn follow(
        &mut self,
        slice: &Slice,
        key: bool,
        old: Option<&Codec>,
        new: Option<&Codec>,
    ) -> bool {
        let Some(new) = new else {
            self.state = State::Broken;
            return false;
        };
        if key {
            // Leading pictures that name what they need are judged one by one.
            let judges = match (self.state, &slice.references) {
                (State::Suspect(lost), Some(known)) => lost < known.wrap(),
                _ => false,
            };
            if slice.random_access {
                let is_known = judges || self.state == State::Whole;
                self.skip_leading = slice.has_skipped_leading && !is_known;
            }
            let leads = judges && slice.has_skipped_leading;
            self.state = if leads { State::Suspect(0) } else { State::Whole };
        } else if !old.is_some_and(|old| is_same_sequence(old, new)) {
            // A sequence starts with a key frame, and that was lost.
            self.state = State::Broken;
        } else if slice.skipped_leading && self.skip_leading {
            return false;
        } else if let (State::Suspect(lost), Some(references), AfterLoss::Hold) =
            (self.state, &slice.references, self.after_loss)
        {
            // With more lost, the counts may have come round. That this one can
            // be decoded says nothing of the next.
            let is_decodable = lost < references.wrap() && self.decoded.has(references);
            if is_decodable {
                self.state = State::Suspect(0);
            }
            return is_decodable;
        } else if let State::Suspect(lost) = self.state {
            let decodable = self.follows_reference(slice, lost);
            let shown = decodable || self.after_loss == AfterLoss::Show;
            self.state = if shown { State::Whole } else { State::Broken };
        }
        if !key && self.state != State::Whole {
            return false;
        }
        if slice.reference {
            self.reference_num = slice.frame_num.map(|(number, _)| number);
        }
        true
    }

    /// Whether `frame_num` proves that no reference picture was lost (H.264
    /// §7.4.3: it counts them). B-frames and the upper layers of temporal
    /// SVC go missing without harm.
    fn follows_reference(&self, slice: &Slice, lost: u32) -> bool {
        let (Some((number, wrap)), Some(last)) = (slice.frame_num, self.reference_num) else {
            return false;
        };
        // With more lost, the count may have come round.
        lost < wrap && number == (last + 1) % wrap
    }
}

/// Whether pictures of `new` may refer to pictures of `old`.
fn is_same_sequence(old: &Codec, new: &Codec) -> bool {
    match (old, new) {
        (Codec::H264(old), Codec::H264(new)) => old.sps == new.sps,
        (Codec::H265(old), Codec::H265(new)) => old.sps == new.sps,
        _ => false,
    }
}
