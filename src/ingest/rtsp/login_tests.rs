use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

fn login(password: &str) -> Login {
    Login { username: "ann".into(), password: Secret::new(password) }
}

/// A door that was refused with these challenges, for the first time.
fn door(challenges: &[&str]) -> Door {
    let mut door = Door::new(Some(login("window")), None);
    refuse(&mut door, challenges, false).unwrap();
    door
}

fn refuse(door: &mut Door, challenges: &[&str], authorized: bool) -> Result<(), Fault> {
    let challenges: Vec<String> = challenges.iter().map(|&line| line.to_owned()).collect();
    door.refused(&challenges, authorized)
}

fn asks(door: &mut Door) -> String {
    door.authorize("DESCRIBE", "rtsp://cam/live").unwrap()
}

/// `response` as RFC 2617 §3.2.2.1 computes it without a qop.
fn rfc2069(nonce: &str, password: &str) -> String {
    let challenge = format!("Digest realm=\"a\", nonce=\"{nonce}\"");
    let mut client = PasswordClient::try_from(challenge.as_str()).unwrap();
    let uri = "rtsp://cam/live";
    let parameters =
        PasswordParams { username: "ann", password, uri, method: "DESCRIBE", body: None };
    let answer = client.respond(&parameters).unwrap();
    answer.split("response=").nth(1).unwrap().to_owned()
}

#[test]
fn the_strongest_of_all_offered_logins_is_used() {
    let basic = "Basic realm=\"a\"";
    let md5 = "Digest realm=\"a\", nonce=\"b\", qop=\"auth\"";
    let sha = "Digest realm=\"a\", nonce=\"b\", algorithm=SHA-256, qop=\"auth\"";
    let one = format!("{basic}, {md5}, {sha}");
    for challenges in [vec![basic, md5, sha], vec![sha, md5, basic], vec![one.as_str()]] {
        let mut door = door(&challenges);
        assert!(asks(&mut door).contains("algorithm=SHA-256"), "{challenges:?}");
        assert_eq!(door.offered().len(), 3);
    }
    assert!(asks(&mut door(&[basic, md5])).starts_with("Digest "));
    // Nothing else is offered: `ann:window`.
    assert_eq!(asks(&mut door(&["NTLM", basic])), "Basic YW5uOndpbmRvdw==");
    assert_eq!(
        asks(&mut door(&["Digest realm=\"a\", nonce=\"b\", algorithm=SHA3", basic]))
            .split(' ')
            .next(),
        Some("Basic")
    );
}

#[test]
fn challenges_as_cameras_write_them_are_answered() {
    for (camera, challenge) in [
        ("by the book, the old one", r#"Digest realm="a", nonce="1f""#),
        ("lower case", r#"digest realm="a", nonce="1f""#),
        ("no quotes", "Digest realm=a, nonce=1f"),
        ("no commas", r#"Digest realm="a" nonce="1f""#),
        ("neither", "Digest realm=a nonce=1f"),
        ("blanks", r#"Digest  realm = "a" ,nonce= "1f" , "#),
        ("a quoted algorithm", r#"Digest realm="a", algorithm="MD5", nonce="1f", stale="FALSE""#),
        ("an algorithm in lower case", r#"Digest realm="a", algorithm=md5, nonce="1f""#),
        ("empty values", r#"Digest realm="a", nonce="1f", opaque="", qop="", algorithm="#),
        ("upper-case names", r#"DIGEST REALM="a", NONCE="1f""#),
        ("a parameter twice", r#"Digest realm="a", nonce="1f", realm="b""#),
        ("no end quote", r#"Digest realm="a", nonce="1f"#),
        ("a qop nobody knows", r#"Digest realm="a", nonce="1f", qop="auth-conf""#),
    ] {
        let answer = asks(&mut door(&[challenge]));
        assert!(answer.contains(&rfc2069("1f", "window")), "{camera}: {answer}");
    }
    for qop in
        ["qop=\"auth\"", "qop=auth", "qop=\"auth,auth-int\"", "qop=auth,auth-int", "qop=\"AUTH\""]
    {
        let answer = asks(&mut door(&[&format!("Digest realm=\"a\", {qop}, nonce=\"1f\"")]));
        assert!(answer.contains("qop=auth, ") && answer.contains("nc=00000001"), "{qop}: {answer}");
    }
    let basic = offers("Basic realm=Network Camera 2, Digest realm=\"x, y=\\\"z\", nonce=\"1\"");
    assert_eq!(basic[0].get("realm"), Some("Network Camera 2"));
    assert_eq!(basic[1].get("realm"), Some("x, y=\\\"z"));
}

#[test]
fn the_nonce_is_counted_up_and_a_stale_one_renewed() {
    let mut door = door(&["Digest realm=\"a\", nonce=\"1\", qop=\"auth\""]);
    assert!(asks(&mut door).contains("nc=00000001"));
    door.accepted(true);
    assert!(asks(&mut door).contains("nc=00000002"));
    // Hours later, on a keep-alive; some say `stale`, some do not.
    for stale in [", stale=true", ", stale=TRUE", ", stale=\"true\"", ", stale=false", ""] {
        let challenge = format!("Digest realm=\"a\", nonce=\"2{stale}\", qop=\"auth\"{stale}");
        let challenge = challenge.replace("stale=\"true\"\", qop", "\", qop");
        refuse(&mut door, &[&challenge], true).unwrap();
        assert!(asks(&mut door).contains("nc=00000001"), "{challenge}");
        door.accepted(true);
    }
    // A camera that never is content is not asked for ever.
    let refusals = (0..10).take_while(|n| {
        refuse(&mut door, &[&format!("Digest realm=\"a\", nonce=\"x{n}\"")], true).is_ok()
    });
    assert_eq!(refusals.count(), MAX_RENEWALS as usize);
}

#[test]
fn a_wrong_password_is_sent_once_and_the_one_as_typed_once() {
    let digest = |nonce: &str| format!("Digest realm=\"a\", nonce=\"{nonce}\"");
    let mut one = door(&[&digest("1")]);
    assert_eq!(refuse(&mut one, &[&digest("2")], true).unwrap_err().code, Code::SourceAuth);

    let mut two = Door::new(Some(login("p@ss")), Some(login("p%40ss")));
    refuse(&mut two, &[&digest("1")], false).unwrap();
    assert!(asks(&mut two).contains(&rfc2069("1", "p@ss")));
    refuse(&mut two, &[&digest("2")], true).unwrap();
    assert!(asks(&mut two).contains(&rfc2069("2", "p%40ss")));
    assert_eq!(refuse(&mut two, &[&digest("3")], true).unwrap_err().code, Code::SourceAuth);

    // Once the first was right, the other is never told.
    let mut right = Door::new(Some(login("p@ss")), Some(login("p%40ss")));
    refuse(&mut right, &["Basic realm=\"a\""], false).unwrap();
    asks(&mut right);
    right.accepted(true);
    assert!(refuse(&mut right, &["Basic realm=\"a\""], true).is_err());
}

#[test]
fn what_cannot_be_answered_is_named() {
    let mut nobody = Door::new(None, None);
    let fault = refuse(&mut nobody, &["Digest realm=\"a\", nonce=\"b\""], false).unwrap_err();
    assert!(fault.detail.contains("none is given"), "{fault}");
    let mut door = Door::new(Some(login("x")), None);
    let fault = refuse(&mut door, &["NTLM", "Digest realm=\"a\""], false).unwrap_err();
    assert!(fault.detail.contains("NTLM, Digest"), "{fault}");
    assert_eq!(fault.code, Code::SourceAuth);
    assert_eq!(refuse(&mut door, &[], false).unwrap_err().code, Code::SourceAuth);
    // One that is understood and cannot be answered is not asked for for ever.
    let login = Login { username: "ann".into(), password: Secret::new("x") };
    let mut door = Door::new(Some(login), None);
    let challenge = "Digest realm=\"\\\u{7f}\", nonce=\"b\"";
    let refusals = (0..9).take_while(|_| refuse(&mut door, &[challenge], false).is_ok());
    assert!(refusals.count() < 3);
}

#[test]
fn offered_logins_are_named_once_without_control_characters() {
    let mut door = Door::new(None, None);
    let challenges = [
        "Digest realm=\"a\", nonce=\"b\", algorithm=SHA-256",
        "Digest realm=\"a\", nonce=\"b\"",
        "Basic realm=\"a\"",
        "Basic realm=\"b\"",
        "\x1b[31mRed",
    ];
    let _ = refuse(&mut door, &challenges, false);
    assert_eq!(door.offered(), ["Digest SHA-256", "Digest", "Basic", "[31mRed"]);
}

proptest! {
    #[test]
    fn any_challenge_is_survived(text in "[Bbdigestauhc=\",\\\\ \t%é0-9-]{0,200}", more in any::<String>()) {
        let mut door = Door::new(Some(login("x")), Some(login("y")));
        for authorized in [false, true, true, true] {
            let _ = door.refused(&[text.clone(), more.clone()], authorized);
            let _ = door.authorize("PLAY", "rtsp://cam/");
        }
    }
}
