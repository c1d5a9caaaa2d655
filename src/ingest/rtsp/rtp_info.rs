//! The RTP-Info header of an answer to PLAY (RFC 2326 §12.33): at which RTP
//! time each track begins, so that sound and picture start together.

use url::Url;

use super::control::Base;

/// Most entries that are read; an SDP has no more tracks.
const MAX_ENTRIES: usize = 64;

/// The RTP time at which each of `tracks` (the URLs of their SETUP) begins.
///
/// All or none: a track that begins at its own first packet would be off
/// against one that begins where the camera says. Sequence numbers are not
/// read, since cameras send those of an earlier session; nor `ssrc`, whose
/// radix nobody agrees on.
pub fn start_times(header: &str, base: &Base, tracks: &[&Url]) -> Option<Vec<u32>> {
    let entries = header.split(',').take(MAX_ENTRIES);
    let entries: Vec<(Url, u32)> = entries.filter_map(|e| entry(e, base)).collect();
    if let ([_], [(_, time)]) = (tracks, entries.as_slice()) {
        // With one track there is nothing to confuse: GW Security names a URL
        // that no SETUP did.
        return Some(vec![*time]);
    }
    let named = |track: &&Url| entries.iter().find(|(url, _)| url == *track).map(|(_, time)| *time);
    tracks.iter().map(named).collect()
}

/// `url=…;seq=…;rtptime=…`
fn entry(entry: &str, base: &Base) -> Option<(Url, u32)> {
    let (mut url, mut time) = (None, None);
    for part in entry.split(';') {
        match part.trim().split_once('=') {
            Some(("url", value)) => url = Some(value),
            Some(("rtptime", value)) => time = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some((base.join(url?), time?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_begin_where_the_camera_says_or_all_at_their_first_packet() {
        let asked = Url::parse("rtsp://cam/live").unwrap();
        let base = Base::new(&asked, Some("rtsp://cam/live/"), None);
        let (video, audio) = (base.join("trackID=0"), base.join("trackID=1"));
        let both = [&video, &audio];
        for (camera, header, tracks, expected) in [
            (
                "Dahua",
                "url=trackID=0;seq=47121;rtptime=3475222385,url=trackID=1;seq=45186;rtptime=2234446919,url=trackID=4;seq=1;rtptime=8",
                &both[..],
                Some(vec![3_475_222_385, 2_234_446_919]),
            ),
            (
                "absolute, behind NAT",
                "url=rtsp://192.168.1.9/live/trackID=0;seq=1;rtptime=5, url=rtsp://192.168.1.9/live/trackID=1;rtptime=6",
                &both[..],
                Some(vec![5, 6]),
            ),
            (
                "GW Security",
                "url=rtsp://cam:5050/H264/video;seq=271;rtptime=1621990950",
                &both[..1],
                Some(vec![1_621_990_950]),
            ),
            ("one of two", "url=trackID=0;seq=1;rtptime=5", &both[..], None),
            ("no rtptime", "url=trackID=0;seq=1", &both[..1], None),
            ("rtptime beyond 32 bits", "url=trackID=0;seq=1;rtptime=4294967296", &both[..1], None),
            (
                "Laureii ends in a semicolon",
                "url=rtsp://cam/live/trackID=0;seq=0;rtptime=0;",
                &both[..1],
                Some(vec![0]),
            ),
            ("empty", "", &both[..1], None),
        ] {
            assert_eq!(start_times(header, &base, tracks), expected, "{camera}");
        }
    }

    #[test]
    fn no_answer_costs_more_than_a_session_has_tracks() {
        // 4,000 URLs of 60,000 bytes each would be 240 MB.
        let asked = Url::parse("rtsp://cam/live").unwrap();
        let base = Base::new(&asked, Some(&format!("rtsp://cam/{}/", "x".repeat(60_000))), None);
        assert_eq!(base.join("*"), asked, "a base of that length is none");
        let base = Base::new(&asked, None, None);
        let entries = |n: usize| {
            let entries = (0..n).map(|n| format!("url={n};rtptime={n}"));
            entries.collect::<Vec<_>>().join(",")
        };
        let last = base.join("63");
        assert_eq!(start_times(&entries(64), &base, &[&last]), Some(vec![63]));
        let beyond = base.join("64");
        assert_eq!(start_times(&entries(65), &base, &[&beyond]), None);
    }
}
