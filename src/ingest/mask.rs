//! What a camera says, without what it was told: some say a request back in
//! their answer, and an answer's words reach viewers and logs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::source::{Login, Source, holds_login};

/// Shorter texts are words that stand anywhere.
const SHORTEST: usize = 4;

/// `text` without the secrets of `source`, whole or cut off at its end.
pub(super) fn masked(source: &Source, text: &str) -> String {
    let logins = [source.login.as_ref(), source.spare_login()];
    let of_login = |login: &Login| {
        let Login { username, password } = login;
        let basic = STANDARD.encode(format!("{username}:{}", password.expose()));
        [password.expose().to_owned(), basic]
    };
    let path = source.url().path_segments().into_iter().flatten();
    let in_url = path.filter(|segment| holds_login(segment)).chain(source.url().query());
    let secrets = logins.into_iter().flatten().flat_map(of_login).chain(in_url.map(str::to_owned));
    let mut text = text.to_owned();
    for secret in secrets.filter(|secret| secret.len() >= SHORTEST) {
        text = text.replace(&secret, "***");
        let starts = (SHORTEST..secret.len()).rev().filter_map(|length| secret.get(..length));
        if let Some(start) = starts.into_iter().find(|start| text.ends_with(start)) {
            text.truncate(text.len() - start.len());
            text.push_str("***");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_says_our_request_back_tells_no_secret() {
        let url = "rtsp://ann:s3cr%40t@cam/user=ann_password=xyzzy.sdp?pw=quux1";
        let source: Source = url.parse().unwrap();
        let basic = STANDARD.encode("ann:s3cr@t");
        for said in [
            format!("403 DESCRIBE /user=ann_password=xyzzy.sdp?pw=quux1 Basic {basic} no"),
            "ann, s3cr@t is wrong".into(),
            "or is it s3cr%40t".into(),
            format!("cut off at {}", &basic[..9]),
        ] {
            let text = masked(&source, &said);
            for secret in ["s3cr", "xyzzy", "quux1", &basic[..9]] {
                assert!(!text.contains(secret), "{text}");
            }
            assert!(text.contains("***"), "{text}");
        }
        let plain = "404 Not Found";
        assert_eq!(masked(&source, plain), plain);
    }
}
